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

/** The kernel alone, and what a browser loads, minified by esbuild into one file. */
export async function measureSizes(): Promise<Record<string, Size>> {
  return {
    'kernel.wasm': sizeOf(readFileSync(`${root}dist/kernel.wasm`)),
    'browser: `getDispatchLayout`': sizeOf(await bundle("export { getDispatchLayout } from 'dispatch-layout';")),
    'browser: everything': sizeOf(await bundle("export * from 'dispatch-layout';")),
  };
}

async function bundle(contents: string): Promise<Uint8Array> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    logLevel: 'error',
  });
  return outputFiles[0].contents;
}

function sizeOf(bytes: Uint8Array): Size {
  return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length };
}
