/**
 * Memory that several threads see.
 *
 * @module
 */

/**
 * Allocates shared memory.
 *
 * @throws RangeError if there is none.
 */
export function allocateShared(numBytes: number): SharedArrayBuffer {
  const buffer = new SharedArrayBuffer(numBytes);
  pressCollector(numBytes);
  return buffer;
}

/**
 * Lets the garbage collector know of shared memory that this thread refers to. V8 does not count it, and would keep
 * gigabytes of it that nobody uses any more: an ArrayBuffer of the size, dropped at once and never touched, is counted.
 */
export function pressCollector(numBytes: number): void {
  new ArrayBuffer(numBytes);
}
