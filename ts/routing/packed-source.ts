/**
 * Sources whose bytes are made of those of another one.
 *
 * @module
 */
import { crc32, inflateRaw } from '#routing-platform';
import type { ByteSource } from './byte-source.ts';
import { RoutingError, refuse } from './routing-error.ts';

const packedChunkBytes = 2 ** 16;
const remedy = 'copy or save the file again';

/**
 * The bytes to which deflated data unpack. They are inflated as they are read, so that memory is bounded whatever their
 * size. It is an error if the data end before `size` bytes, or go on behind them.
 */
export function inflated(packed: ByteSource, size: number): ByteSource {
  let chunks = chunksOf(packed);
  let chunk: Uint8Array = new Uint8Array(0);
  // The position of the chunk in the unpacked bytes.
  let chunkStart = 0;
  const damaged = (problem: string): never =>
    refuse('DAMAGED', `is damaged: ${problem}`, { file: packed.name, remedy });

  const advance = async (): Promise<boolean> => {
    const next = await chunks.next().catch((error: unknown) => {
      if (error instanceof RoutingError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw new RoutingError('DAMAGED', `is damaged or truncated: its data cannot be unpacked (${reason})`, {
        file: packed.name,
        remedy,
        cause: error,
      });
    });
    chunkStart += chunk.length;
    chunk = next.done ? new Uint8Array(0) : next.value;
    return !next.done;
  };

  const release = async (): Promise<void> => {
    await chunks.return();
    chunks = chunksOf(packed);
    chunk = new Uint8Array(0);
    chunkStart = 0;
  };

  return {
    name: packed.name,
    size,
    isSequential: true,
    release,
    async read(position, into) {
      if (position < chunkStart) await release();
      const end = Math.min(position + into.length, size);
      let at = position;
      while (at < end) {
        const chunkEnd = chunkStart + chunk.length;
        if (at >= chunkEnd) {
          if (!(await advance())) damaged(`its data unpack to ${chunkEnd} bytes instead of the promised ${size}`);
          continue;
        }
        const part = chunk.subarray(at - chunkStart, end - chunkStart);
        into.set(part, at - position);
        at += part.length;
      }
      if (end === size) {
        while (chunkStart + chunk.length === size && (await advance()));
        if (chunkStart + chunk.length > size) damaged(`its data go on after the promised ${size} bytes`);
      }
      return Math.max(0, end - position);
    },
  };
}

/** Inflates data from their start. */
function chunksOf(packed: ByteSource): AsyncGenerator<Uint8Array, void, void> {
  return inflateRaw(packedChunks(packed));
}

async function* packedChunks(packed: ByteSource): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  for (let position = 0; position < packed.size; ) {
    const bytes = new Uint8Array(Math.min(packedChunkBytes, packed.size - position));
    const length = await packed.read(position, bytes);
    if (length === 0) return;
    position += length;
    yield bytes.subarray(0, length);
  }
}

/**
 * Checks the bytes of a source against their CRC-32 once they have been read to their end. Parts may be skipped or read
 * again; then the checksum counts what is read from the first byte on without a gap.
 */
export function verified(source: ByteSource, checksum: number): ByteSource {
  let counted = 0;
  let sum = 0;
  const check = (): void => {
    if (sum === checksum) return;
    refuse('DAMAGED', 'is damaged: its checksum is not that of its data', { file: source.name, remedy });
  };
  return {
    ...source,
    async read(position, into) {
      const length = await source.read(position, into);
      if (position <= counted && position + length > counted) {
        sum = crc32(into.subarray(counted - position, length), sum);
        counted = position + length;
        if (counted === source.size) check();
      }
      return length;
    },
  };
}
