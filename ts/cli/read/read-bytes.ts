/**
 * Reads a whole file or standard input (`-`), up to a limit.
 *
 * @module
 */
import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import { fail, failOnSystemError, withMemory } from '../fail.ts';
import { startProgress } from '../progress.ts';

/** The length of the longest buffer in Node.js 20. */
const maxBytes = 2 ** 32 - 1;
const chunkBytes = 2 ** 24;

/** What to do about a file that is too large. */
export const splitRemedy = 'split it by layers or tokens';

/** The name of a file as it is shown to people: its path, or `standard input`. */
export function displayName(path: string): string {
  return path === '-' ? 'standard input' : path;
}

/**
 * Throws if a file need not be read to its end, because it will be refused.
 *
 * @param start its first bytes.
 * @param length its length, or the length of the part that has been read so far.
 */
type Inspect = (start: Uint8Array, length: number) => void;

/** @param path a file, or `-` for standard input. */
export async function readBytes(path: string, inspect: Inspect): Promise<Uint8Array<ArrayBuffer>> {
  const name = displayName(path);
  try {
    if (path === '-') return await readStream(process.stdin, name, inspect);
    const descriptor = openSync(path, 'r');
    try {
      const stat = fstatSync(descriptor);
      // The size of pipes, devices and the files of /proc is not known before they have been read.
      if (stat.isFile() && stat.size > 0) return readFile(descriptor, stat.size, name, inspect);
      if (stat.isDirectory()) fail(`cannot read ${name}: it is a directory`);
      return await readStream(createReadStream(path, { fd: descriptor, autoClose: false }), name, inspect);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    return failOnSystemError('read', name, error);
  }
}

function readFile(descriptor: number, size: number, name: string, inspect: Inspect): Uint8Array<ArrayBuffer> {
  const first = new Uint8Array(Math.min(size, chunkBytes));
  let length = readSync(descriptor, first);
  inspect(first.subarray(0, length), size);
  if (size > maxBytes) failTooLarge(name);
  const bytes = withMemory(`the ${size} bytes of ${name}`, splitRemedy, () => new Uint8Array(size));
  bytes.set(first);
  const progress = startProgress('reading', size);
  try {
    while (length < size) {
      const read = readSync(descriptor, bytes, length, Math.min(chunkBytes, size - length), null);
      if (read === 0) fail(`${name} shrank while it was read`);
      length += read;
      progress.update(length);
    }
  } finally {
    progress.stop();
  }
  return bytes;
}

async function readStream(
  stream: AsyncIterable<Uint8Array>,
  name: string,
  inspect: Inspect,
): Promise<Uint8Array<ArrayBuffer>> {
  // A stream allocates memory for each of its small chunks, and Node.js crashes if there is none. The buffer here is
  // doubled when it is full, so that its allocation fails while there is still enough memory for chunks.
  let bytes = new Uint8Array(chunkBytes);
  let length = 0;
  for await (const chunk of stream) {
    const end = length + chunk.length;
    if (end > maxBytes) failTooLarge(name);
    if (end > bytes.length) {
      const size = Math.min(2 * bytes.length, maxBytes);
      const what = `${name}, of which ${end} bytes have been read`;
      const larger = withMemory(what, splitRemedy, () => new Uint8Array(size));
      larger.set(bytes);
      bytes = larger;
    }
    bytes.set(chunk, length);
    length = end;
    inspect(bytes.subarray(0, length), length);
  }
  if (length === 0) fail(`${name} is empty`);
  return bytes.subarray(0, length);
}

function failTooLarge(name: string): never {
  fail(`${name} is larger than the limit of 4 GiB; ${splitRemedy}`);
}
