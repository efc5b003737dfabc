/**
 * Reads an array of integers from a file in any known format, which is recognised by the first bytes and not by the name.
 *
 * @module
 */
import { fail } from '../fail.ts';
import type { IntegerNdarray } from './integer-ndarray.ts';
import { parseJson } from './json.ts';
import { npyMagic, parseNpy } from './npy.ts';
import { unpackNpz, zipMagic } from './npz.ts';
import { displayName, readBytes } from './read-bytes.ts';

type Format = 'npy' | 'npz' | 'json';

/**
 * @param path a file, or `-` for standard input.
 * @param arrayName the array to take from an `.npz`.
 */
export async function readArray(path: string, arrayName?: string): Promise<IntegerNdarray> {
  const name = displayName(path);
  const bytes = await readBytes(path, (start) => {
    recogniseFormat(start, name);
  });
  return parseArray(bytes, name, arrayName);
}

/**
 * @param name what to call the file in errors.
 * @param arrayName the array to take from an `.npz`.
 */
export function parseArray(bytes: Uint8Array<ArrayBuffer>, name: string, arrayName?: string): IntegerNdarray {
  const format = recogniseFormat(bytes, name);
  if (arrayName !== undefined && format !== 'npz')
    fail(`--array chooses from an .npz file; ${name} is ${nouns[format]}`);
  if (format === 'npz') {
    const npy = unpackNpz(bytes, arrayName, name);
    return parseNpy(npy, arrayName === undefined ? `the array of ${name}` : `array '${arrayName}' of ${name}`);
  }
  return format === 'npy' ? parseNpy(bytes, name) : parseJson(bytes, name);
}

const nouns: Readonly<Record<Format, string>> = { npy: 'an .npy file', npz: 'an .npz file', json: 'JSON' };

function recogniseFormat(bytes: Uint8Array, name: string): Format {
  if (bytes.length === 0) fail(`${name} is empty`);
  const start = String.fromCharCode(...bytes.subarray(0, 64));
  if (start[0] === npyMagic[0]) return 'npy';
  if (start.startsWith(zipMagic)) return 'npz';
  // A byte order mark and white space may come before what a JSON document can begin with.
  if (/^(?:\xef\xbb\xbf)?\s*(?:[[{"\d-]|true|false|null|$)/.test(start)) return 'json';
  if (start.startsWith('\x1f\x8b'))
    fail(`${name} is compressed with gzip; unpack it first: gzip -dc FILE | dispatch-layout -`);
  fail(`${name} is none of .npy, .npz and JSON; from Python, save with numpy.save(path, topk_idx)`);
}
