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

/** The kernel alone, and everything that a browser loads: the core as one minified bundle, the kernel in it. */
export async function measureSizes(): Promise<Record<string, Size>> {
  const { outputFiles } = await build({
    stdin: { contents: "export * from 'dispatch-layout';", resolveDir: root },
    bundle: true,
    minify: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    logLevel: 'error',
  });
  return {
    'kernel.wasm': sizeOf(readFileSync(`${root}dist/kernel.wasm`)),
    'browser bundle, minified': sizeOf(outputFiles[0].contents),
  };
}

function sizeOf(bytes: Uint8Array): Size {
  return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length };
}
