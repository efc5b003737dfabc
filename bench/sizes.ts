/**
 * How many bytes reach a user.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import type { Size } from './results.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The kernel alone, and what a browser loads, minified by esbuild into one file: at once, or all there is. */
export async function measureSizes(): Promise<Record<string, Size>> {
  return {
    'kernel.wasm': sizeOf(readFileSync(`${root}dist/kernel.wasm`)),
    'browser: `getDispatchLayout`': sizeOf(await bundle("export { getDispatchLayout } from 'dispatch-layout';", false)),
    'browser: everything, with threads': sizeOf(await bundle("export * from 'dispatch-layout';", true)),
  };
}

/** @param withChunks whether what is loaded by `import()` counts. */
async function bundle(contents: string, withChunks: boolean): Promise<Uint8Array> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    logLevel: 'error',
    plugins: [
      {
        name: 'chunks',
        setup: ({ onResolve }) =>
          onResolve({ filter: /^\./ }, ({ kind, path }) =>
            kind === 'dynamic-import' && !withChunks ? { path, external: true } : undefined,
          ),
      },
    ],
  });
  return outputFiles[0].contents;
}

function sizeOf(bytes: Uint8Array): Size {
  return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length };
}
