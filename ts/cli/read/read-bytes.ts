/**
 * Reads a whole file or standard input (`-`), up to a limit.
 *
 * @module
 */
import { closeSync, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import { fail, failOnSystemError } from '../fail.ts';
import { startProgress } from '../progress.ts';

/** The length of the longest buffer in Node.js 20. */
const maxBytes = 2 ** 32 - 1;
const chunkBytes = 2 ** 24;

/** The name of a file as it is shown to people: its path, or `standard input`. */
export function displayName(path: string): string {
  return path === '-' ? 'standard input' : path;
}

/**
 * @param path a file, or `-` for standard input.
 * @param inspect is called with the first bytes before the rest is read, and throws if the file is not worth reading.
 */
export async function readBytes(path: string, inspect: (start: Uint8Array) => void): Promise<Uint8Array<ArrayBuffer>> {
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

function readFile(
  descriptor: number,
  size: number,
  name: string,
  inspect: (start: Uint8Array) => void,
): Uint8Array<ArrayBuffer> {
  if (size > maxBytes) failTooLarge(name);
  const bytes = new Uint8Array(size);
  const progress = startProgress('reading', size);
  try {
    let length = 0;
    while (length < size) {
      const read = readSync(descriptor, bytes, length, Math.min(chunkBytes, size - length), null);
      if (read === 0) fail(`${name} shrank while it was read`);
      if (length === 0) inspect(bytes.subarray(0, read));
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
  inspect: (start: Uint8Array) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    if (length === 0) inspect(chunk);
    length += chunk.length;
    if (length > maxBytes) failTooLarge(name);
  }
  if (length === 0) fail(`${name} is empty`);
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.length;
  }
  return bytes;
}

function failTooLarge(name: string): never {
  fail(`${name} is larger than 4 GiB, the most that is read; split it by layers or tokens`);
}
