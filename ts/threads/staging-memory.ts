/**
 * Shared memory for copies of ids, kept for the next ones: new memory costs more than the copy.
 *
 * @module
 */
import { DispatchLayoutError } from '../errors.ts';
import { allocateShared } from '../shared-memory.ts';

/** What is kept: the copies of two large layouts, as when one is made while the other is computed. */
const maxKept = 2;
const maxKeptBytes = 32 * 1024 * 1024;

/** Buffers that are not in use. */
export class StagingMemory {
  readonly #kept: SharedArrayBuffer[] = [];

  /** @throws DispatchLayoutError `OUT_OF_MEMORY` */
  take(numBytes: number): SharedArrayBuffer {
    const index = this.#kept.findIndex(({ byteLength }) => byteLength >= numBytes);
    if (index >= 0) return this.#kept.splice(index, 1)[0];
    try {
      return allocateShared(numBytes);
    } catch (cause) {
      throw new DispatchLayoutError('OUT_OF_MEMORY', `a copy of ${numBytes} bytes of ids does not fit in memory`, {
        value: numBytes,
        remedy: 'Keep the ids in a SharedArrayBuffer, wait for earlier layouts, or split the tokens.',
        cause,
      });
    }
  }

  /** Takes a buffer back. The largest are kept. */
  give(buffer: SharedArrayBuffer): void {
    if (buffer.byteLength > maxKeptBytes) return;
    this.#kept.push(buffer);
    this.#kept.sort((a, b) => a.byteLength - b.byteLength);
    if (this.#kept.length > maxKept) this.#kept.shift();
  }
}
