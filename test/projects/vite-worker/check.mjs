// Checks the page that each version of Vite builds without settings, in which the worker is a classic script.
import assert from 'node:assert';
import { readdir, readFile } from 'node:fs/promises';
import { withChromium } from '../support/chromium.mjs';
import { withSite } from '../support/site.mjs';

const { devDependencies } = JSON.parse(await readFile('package.json', 'utf8'));
for (const name of Object.keys(devDependencies)) {
  const { build } = await import(name);
  const outDir = `dist/${name}`;
  await build({ build: { outDir }, logLevel: 'warn' });
  const assets = await readdir(`${outDir}/assets`);
  assert.strictEqual(assets.filter((file) => /^worker-.*\.js$/.test(file)).length, 1, `${assets}`);
  await withSite(outDir, (url) =>
    withChromium(async (chromium) => assert.strictEqual(await chromium.outputOf(url), '1 0 1 1 on wasm', name)),
  );
}
