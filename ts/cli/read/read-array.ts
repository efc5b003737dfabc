/**
 * Reads an array of integers from a file in any known format. The format is recognised by the first bytes, not by the name.
 *
 * @module
 */
import { fail } from '../fail.ts';
import type { Content } from './content.ts';
import type { IntegerNdarray } from './integer-ndarray.ts';
import { checkJsonLength, parseJson } from './json.ts';
import { npyMagic, parseNpy } from './npy.ts';
import { unpackNpz, zipMagic } from './npz.ts';
import { displayName, readBytes } from './read-bytes.ts';

type Format = 'npy' | 'npz' | 'json';

/**
 * @param path a file, or `-` for standard input.
 * @param content what the file is read for.
 * @param arrayName the array to take from an `.npz`.
 */
export async function readArray(path: string, content: Content, arrayName?: string): Promise<IntegerNdarray> {
  const name = displayName(path);
  const bytes = await readBytes(path, (start, length) => {
    if (recogniseFormat(start, content, name) === 'json') checkJsonLength(length, name);
  });
  return parseArray(bytes, content, name, arrayName);
}

/**
 * @param content what the file is read for.
 * @param name what to call the file in errors.
 * @param arrayName the array to take from an `.npz`.
 */
export function parseArray(
  bytes: Uint8Array<ArrayBuffer>,
  content: Content,
  name: string,
  arrayName?: string,
): IntegerNdarray {
  const format = recogniseFormat(bytes, content, name);
  if (arrayName !== undefined && format !== 'npz')
    fail(`--array chooses from an .npz file; ${name} is ${nouns[format]}`);
  if (format === 'npz') {
    const npy = unpackNpz(bytes, arrayName, content, name);
    return parseNpy(npy, content, arrayName === undefined ? `the array of ${name}` : `array '${arrayName}' of ${name}`);
  }
  return format === 'npy' ? parseNpy(bytes, content, name) : parseJson(bytes, content, name);
}

const nouns: Readonly<Record<Format, string>> = { npy: 'an .npy file', npz: 'an .npz file', json: 'JSON' };

function recogniseFormat(bytes: Uint8Array, { variable }: Content, name: string): Format {
  if (bytes.length === 0) fail(`${name} is empty`);
  const start = String.fromCharCode(...bytes.subarray(0, 64));
  if (start[0] === npyMagic[0]) return 'npy';
  if (start.startsWith(zipMagic)) return 'npz';
  // A byte order mark and white space may come before what a JSON document can begin with.
  if (/^(?:\xef\xbb\xbf)?\s*(?:[[{"\d-]|true|false|null|$)/.test(start)) return 'json';
  if (start.startsWith('\x1f\x8b'))
    fail(`${name} is compressed with gzip; unpack it first: gzip -dc FILE | dispatch-layout -`);
  fail(`${name} is neither .npy nor .npz nor JSON; from Python, save with numpy.save(path, ${variable})`);
}
