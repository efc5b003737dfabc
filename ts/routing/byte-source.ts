/**
 * Bytes that can be read at any place. Every format reads from this, so that none knows where its bytes come from.
 *
 * @module
 */
import { refuse } from './routing-error.ts';

/** Bytes that can be read at any place: a file, a Blob, bytes in memory, or a stream that was spooled. */
export interface ByteSource {
  /** The name of the file, as it is shown to people. */
  readonly name: string;
  /** The number of bytes. */
  readonly size: number;
  /**
   * Reads bytes from `position` on into the whole of `into`, or up to the end of the source.
   *
   * @returns how many bytes were read. It is less than the length of `into` only at the end of the source.
   */
  read(position: number, into: Uint8Array): Promise<number>;
  /** Whether reading at a place before the last one starts again at the first byte, as where the bytes are packed. */
  readonly isSequential?: boolean;
  /** Gives back the memory that is kept between two reads. It can be read again after that. */
  release?(): Promise<void>;
}

/** A source of bytes in memory. */
export function sourceOfBytes(bytes: Uint8Array, name: string): ByteSource {
  return {
    name,
    size: bytes.length,
    async read(position, into) {
      const part = bytes.subarray(position, position + into.length);
      into.set(part);
      return part.length;
    },
  };
}

/** A source of what is in a Blob. */
export function sourceOfBlob(blob: Blob, name: string): ByteSource {
  return {
    name,
    size: blob.size,
    async read(position, into) {
      const bytes = await blob.slice(position, position + into.length).arrayBuffer();
      into.set(new Uint8Array(bytes));
      return bytes.byteLength;
    },
  };
}

/** A part of a source, as a source of its own. It must lie inside the source. */
export function partOf(source: ByteSource, start: number, size: number, name = source.name): ByteSource {
  return {
    name,
    size,
    read(position, into) {
      const length = Math.max(0, Math.min(into.length, size - position));
      return source.read(start + position, into.subarray(0, length));
    },
  };
}

/**
 * Reads exactly `length` bytes.
 *
 * @param length at most a few megabytes: the caller has checked what the file says.
 * @throws {@link RoutingError} `DAMAGED` if the source ends before them.
 *
 * @internal
 */
export async function readExactly(
  source: ByteSource,
  position: number,
  length: number,
  what: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  const read = await source.read(position, bytes);
  if (read !== length) {
    refuse(
      'DAMAGED',
      `is truncated: ${what} needs bytes up to ${position + length}, and the file ends at ${position + read}`,
      {
        file: source.name,
        remedy: 'copy or save the file again',
      },
    );
  }
  return bytes;
}

/** How many bytes are read ahead. */
const blockBytes = 2 ** 16;

/**
 * The same bytes, of which the block with those that were read last is kept: for readers that read a few bytes here and a
 * few nearby, each of which would be a call of the operating system.
 */
export function inBlocks(source: ByteSource): ByteSource {
  let kept = { index: -1, bytes: new Uint8Array(0) };
  return {
    ...source,
    async read(position, into) {
      if (into.length >= blockBytes) return source.read(position, into);
      const end = Math.min(position + into.length, source.size);
      for (let at = position; at < end; ) {
        const index = Math.floor(at / blockBytes);
        let block = kept;
        if (block.index !== index) {
          const bytes = new Uint8Array(blockBytes);
          block = { index, bytes: bytes.subarray(0, await source.read(index * blockBytes, bytes)) };
          kept = block;
        }
        const part = block.bytes.subarray(at - index * blockBytes, end - index * blockBytes);
        if (part.length === 0) return at - position;
        into.set(part, at - position);
        at += part.length;
      }
      return Math.max(0, end - position);
    },
  };
}
