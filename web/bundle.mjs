/**
 * Makes the page of pictures: one file with its program, its style sheet, and a policy that allows nothing else.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';

const folder = fileURLToPath(new URL('.', import.meta.url));

/**
 * The text of the page, without data, and the files that its program is made of.
 *
 * @param plugins those that the bundles of the library need.
 */
export async function makePage(plugins) {
  const { outputFiles, metafile } = await build({
    absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
    entryPoints: ['web/main.ts'],
    bundle: true,
    minify: true,
    format: 'iife',
    platform: 'browser',
    conditions: ['browser'],
    target: ['es2022', 'safari16.4'],
    define: { IS_NODE: 'false' },
    legalComments: 'none',
    logLevel: 'warning',
    metafile: true,
    write: false,
    plugins,
  });
  // The program stands between tags, which none of its strings may end
  const script = outputFiles[0].text.trim().replaceAll(/<(?=\/script|!--)/gi, '\\x3c');
  const { code } = await transform(await readFile(`${folder}page.css`, 'utf8'), { loader: 'css', minify: true });
  const style = code.trim();
  const policy = [
    "default-src 'none'",
    `script-src '${hashOf(script)}' 'wasm-unsafe-eval'`,
    `style-src '${hashOf(style)}'`,
    'img-src data:',
    'worker-src blob:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
  const template = await readFile(`${folder}page.html`, 'utf8');
  // Functions, since `$` has a meaning in replacements that are texts
  const page = template
    .replace('POLICY', () => policy)
    .replace('STYLE', () => style)
    .replace('SCRIPT', () => script);
  return { page, inputs: Object.keys(metafile.inputs) };
}

function hashOf(text) {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
