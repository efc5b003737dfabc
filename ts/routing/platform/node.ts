/**
 * What differs between runtimes, for Node.js, Bun and Deno: files have paths.
 *
 * @module
 */
import { close, closeSync, constants, fstatSync, openSync, read, readdirSync, readSync, rmSync, write } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline, Readable } from 'node:stream';
import { getSystemErrorMap, promisify } from 'node:util';
import { crc32 as crc32OfZlib, createInflateRaw } from 'node:zlib';
import { type ByteSource, sourceOfBytes } from '../byte-source.ts';
import { RoutingError } from '../routing-error.ts';

/** A source that holds a file open. */
export interface OpenSource extends ByteSource {
  /** Closes the file. */
  close(): void;
}

/** Continues the CRC-32 `sum` by `bytes`. */
export function crc32(bytes: Uint8Array, sum: number): number {
  return crc32OfZlib(bytes, sum);
}

/** Unpacks data that were packed by deflate. */
export async function* inflateRaw(
  packed: AsyncIterable<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<Uint8Array, void, void> {
  // With chunks of the default size, 16 KiB, it takes twice as long.
  const unpacked = createInflateRaw({ chunkSize: 2 ** 18 });
  // An error is thrown where the data are taken.
  pipeline(Readable.from(packed), unpacked, () => {});
  yield* unpacked;
}

const readFrom = promisify(read);
const writeTo = promisify(write);

/**
 * Opens what is at a path.
 *
 * @param waits whether the thread waits for the disk, which saves turns of the event loop.
 * @returns a source if it is a file, the names in it if it is a directory, and a stream if its size is not known before
 *   it has been read, as that of a pipe.
 * @throws {@link RoutingError} `UNREADABLE` if it cannot be opened.
 */
export function openPath(path: string, waits: boolean): OpenSource | readonly string[] | AsyncIterable<Uint8Array> {
  const failing = <Result>(work: () => Result): Result => {
    try {
      return work();
    } catch (error) {
      throw describe(path, error);
    }
  };
  const descriptor = failing(() => openSync(path, 'r'));
  const stat = failing(() => fstatSync(descriptor));
  if (stat.isDirectory()) {
    closeSync(descriptor);
    return failing(() => readdirSync(path).sort());
  }
  // The files of /proc say that they have no bytes.
  return stat.isFile() && stat.size > 0 ? sourceOf(descriptor, path, stat.size, waits) : chunksOf(descriptor, path);
}

/** The path of a file in a directory. */
export function pathIn(directory: string, name: string): string {
  return join(directory, name);
}

/** The most bytes of a stream that are kept in memory. */
const maxSpoolBytes = 2 ** 25;

/**
 * Keeps all bytes of a stream, so that they can be read at any place: in memory, or in a temporary file if they are many.
 *
 * @throws {@link RoutingError} `UNREADABLE` if the temporary file cannot be written.
 */
export async function spool(stream: AsyncIterable<Uint8Array>, name: string): Promise<OpenSource> {
  let kept: Uint8Array[] = [];
  let size = 0;
  let descriptor: number | null = null;
  try {
    for await (const chunk of stream) {
      size += chunk.length;
      kept.push(chunk);
      if (descriptor === null && size <= maxSpoolBytes) continue;
      descriptor ??= openTemporary();
      for (const part of kept) await writeWhole(descriptor, part);
      kept = [];
    }
  } catch (error) {
    if (descriptor !== null) closeSync(descriptor);
    throw describe(name, error);
  }
  if (descriptor !== null) return sourceOf(descriptor, name, size, false);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const part of kept) {
    bytes.set(part, at);
    at += part.length;
  }
  return { ...sourceOfBytes(bytes, name), close() {} };
}

/** Opens a file that has no name any more, so that nothing is left of it when the process ends in any way. */
function openTemporary(): number {
  const path = join(tmpdir(), `dispatch-layout-${process.pid}-${performance.now()}.tmp`);
  const descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  rmSync(path);
  return descriptor;
}

async function writeWhole(descriptor: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await writeTo(descriptor, bytes, at, bytes.length - at)).bytesWritten;
}

function sourceOf(descriptor: number, name: string, size: number, waits: boolean): OpenSource {
  return {
    name,
    size,
    async read(position, into) {
      try {
        const wanted = Math.min(into.length, size - position);
        let length = 0;
        while (length < wanted) {
          const part = [into, length, wanted - length, position + length] as const;
          const read = waits ? readSync(descriptor, ...part) : (await readFrom(descriptor, ...part)).bytesRead;
          if (read === 0) break;
          length += read;
        }
        return length;
      } catch (error) {
        throw describe(name, error);
      }
    },
    close() {
      close(descriptor);
    },
  };
}

const chunkBytes = 2 ** 20;

async function* chunksOf(descriptor: number, name: string): AsyncGenerator<Uint8Array, void, void> {
  try {
    for (;;) {
      const bytes = new Uint8Array(chunkBytes);
      const { bytesRead } = await readFrom(descriptor, bytes, 0, chunkBytes, null);
      if (bytesRead === 0) return;
      yield bytes.subarray(0, bytesRead);
    }
  } catch (error) {
    throw describe(name, error);
  } finally {
    closeSync(descriptor);
  }
}

/** Says of an error of the operating system which file could not be read. Any other error is returned as it is. */
function describe(name: string, error: unknown): unknown {
  if (!(error instanceof Error && 'errno' in error && typeof error.errno === 'number')) return error;
  const reason = getSystemErrorMap().get(error.errno)?.[1] ?? error.message;
  const remedy =
    'code' in error && error.code === 'EMFILE'
      ? 'give fewer files at once, or allow more open files (ulimit -n)'
      : 'check the name of the file, and that you may read it';
  return new RoutingError('UNREADABLE', `cannot be read: ${reason}`, { file: name, remedy, cause: error });
}
