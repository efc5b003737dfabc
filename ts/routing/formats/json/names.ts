/**
 * Turns the bytes of keys and words into strings, quickly for those that have been seen before: files of routing repeat
 * a few of them millions of times.
 *
 * @module
 */

interface Name {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** A table of short ASCII strings. It holds one string for each hash, so that a hostile file cannot make it grow. */
export class Names {
  readonly #names = new Array<Name | undefined>(tableSize);

  /**
   * @param start where in `bytes` the string begins.
   * @param end where it ends. All bytes between are ASCII.
   * @param hash a hash of these bytes.
   */
  get(bytes: Uint8Array, start: number, end: number, hash: number): string {
    const place = hash & (tableSize - 1);
    const name = this.#names[place];
    if (name !== undefined && isAt(name.bytes, bytes, start, end)) return name.text;
    const text = decoder.decode(bytes.subarray(start, end));
    if (end - start <= longestName) this.#names[place] = { bytes: bytes.slice(start, end), text };
    return text;
  }
}

const tableSize = 256;
const longestName = 64;
const decoder = new TextDecoder();

function isAt(name: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) {
    if (name[i] !== bytes[start + i]) return false;
  }
  return true;
}
