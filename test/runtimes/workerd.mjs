/**
 * Cloudflare workerd: Wrangler bundles the suite as a Worker, as for deployment, and Miniflare runs it.
 *
 * @module
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Miniflare } from 'miniflare';
import { run } from './commands.mjs';

const compatibilityDate = '2026-04-01';
const wrangler = fileURLToPath(new URL('node_modules/wrangler/bin/wrangler.js', import.meta.url));

/** The row of workerd. */
export function workerdRow(project, folder, options) {
  return {
    name: 'workerd (wrangler, Miniflare)',
    async run() {
      const built = join(folder, 'worker');
      const configuration = join(project, 'wrangler.json');
      await writeFile(
        configuration,
        JSON.stringify({ name: 'suite', main: 'worker-service.mjs', compatibility_date: compatibilityDate }),
      );
      await run(process.execPath, [wrangler, 'deploy', '--dry-run', '--outdir', built, '--config', configuration], {
        cwd: project,
        env: { WRANGLER_SEND_METRICS: 'false', CI: 'true', HOME: folder },
      });
      return serve(built, options);
    },
  };
}

async function serve(built, options) {
  const names = (await readdir(built)).filter((name) => /\.(js|wasm)$/.test(name));
  // The first module is the main one.
  const modules = await Promise.all(
    names
      .sort((a, b) => Number(b.endsWith('.js')) - Number(a.endsWith('.js')))
      .map(async (name) => ({
        type: name.endsWith('.wasm') ? 'CompiledWasm' : 'ESModule',
        path: join(built, name),
        contents: await readFile(join(built, name)),
      })),
  );
  const miniflare = new Miniflare({ modules, modulesRoot: built, compatibilityDate, cf: false });
  try {
    const response = await miniflare.dispatchFetch('http://localhost/', {
      method: 'POST',
      body: JSON.stringify(options),
    });
    if (!response.ok) throw new Error(await response.text());
    return await response.json();
  } finally {
    await miniflare.dispose();
  }
}
