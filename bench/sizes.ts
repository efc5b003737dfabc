/**
 * How many bytes reach a user.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { bundle } from '../test/support/bundle.ts';
import { root } from '../test/support/root.ts';
import type { Size } from './results.ts';

/** The kernel alone, and what a browser loads, minified by esbuild into one file. */
export async function measureSizes(): Promise<Record<string, Size>> {
  return {
    'kernel.wasm': sizeOf(readFileSync(`${root}dist/kernel.wasm`)),
    'browser: `getDispatchLayout`': sizeOf(await minified("export { getDispatchLayout } from 'dispatch-layout';")),
    'browser: everything': sizeOf(await minified("export * from 'dispatch-layout';")),
  };
}

async function minified(contents: string): Promise<Uint8Array> {
  const { outputFiles } = await bundle(contents, { minify: true, platform: 'browser', logLevel: 'error' });
  return outputFiles[0].contents;
}

function sizeOf(bytes: Uint8Array): Size {
  return { raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length };
}
