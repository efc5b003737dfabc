/**
 * What differs between runtimes, for browsers and every other runtime: there are no paths.
 *
 * @module
 */
import type { ByteSource } from '../byte-source.ts';
import { refuse } from '../routing-error.ts';

/** A source that holds a file open. */
export interface OpenSource extends ByteSource {
  /** Lets go of the file. */
  close(): void;
}

/** @throws {@link RoutingError} `UNREADABLE`: only Node.js has paths. */
export function openPath(path: string, _waits: boolean): OpenSource | readonly string[] | AsyncIterable<Uint8Array> {
  const remedy = 'give a Blob, such as a file that the user chose, or its bytes';
  return refuse('UNREADABLE', 'is a path, which only Node.js can open', { file: path, remedy });
}

/** The path of a file in a directory. */
export function pathIn(directory: string, name: string): string {
  return `${directory}/${name}`;
}

/** Keeps all bytes of a stream, so that they can be read at any place. A browser moves large Blobs to its disk. */
export async function spool(stream: AsyncIterable<Uint8Array>, name: string): Promise<OpenSource> {
  const parts: Blob[] = [];
  for await (const chunk of stream) parts.push(new Blob([new Uint8Array(chunk)]));
  const blob = new Blob(parts);
  return {
    name,
    size: blob.size,
    async read(position, into) {
      const bytes = await blob.slice(position, position + into.length).arrayBuffer();
      into.set(new Uint8Array(bytes));
      return bytes.byteLength;
    },
    close() {},
  };
}

/** Unpacks data that were packed by deflate. */
export async function* inflateRaw(
  packed: AsyncIterable<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<Uint8Array, void, void> {
  const chunks = packed[Symbol.asyncIterator]();
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      const next = await chunks.next();
      if (next.done) controller.close();
      else controller.enqueue(next.value);
    },
  });
  const reader = stream.pipeThrough(new DecompressionStream('deflate-raw')).getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    reader.cancel().catch(() => {});
  }
}

const table = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** Continues the CRC-32 `sum` by `bytes`. */
export function crc32(bytes: Uint8Array, sum: number): number {
  let value = ~sum;
  for (let at = 0; at < bytes.length; at++) value = (value >>> 8) ^ table[(value ^ bytes[at]) & 0xff];
  return ~value >>> 0;
}
