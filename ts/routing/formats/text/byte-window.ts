/**
 * A window that moves over the bytes of a source, for readers that go through it token by token.
 *
 * @module
 */
import type { ByteSource } from '../../byte-source.ts';

/**
 * The bytes of a source from a position on, a window at a time. Readers look at `bytes` between `at` and `end`, and
 * move `at` themselves. Before a token that is at most {@link marginBytes} long they check `at < safeEnd`, and call
 * {@link refill} where that does not hold. The byte at `end` is 0, so that a loop over the characters of a token needs
 * no other bound.
 */
export class ByteWindow {
  readonly bytes: Uint8Array<ArrayBuffer> = new Uint8Array(windowBytes + 4);
  /** The position in `bytes` of the next byte. */
  at = 0;
  /** The position in `bytes` after the last byte that has been read from the source. */
  end = 0;
  /** Up to here a token is wholly in the window; `end + 1` once the source has been read to its end. */
  safeEnd = 0;
  readonly #source: ByteSource;
  /** Where in the source the first byte of `bytes` is. */
  #start: number;

  constructor(source: ByteSource, position = 0) {
    this.#source = source;
    this.#start = position;
  }

  /** Where in the source the next byte is. */
  get position(): number {
    return this.#start + this.at;
  }

  /** Whether all bytes of the source have been used. */
  get isAtEnd(): boolean {
    return this.at >= this.end && this.safeEnd > this.end;
  }

  /** Continues at another position of the source. */
  seek(position: number): void {
    const at = position - this.#start;
    if (at >= 0 && at <= this.end) {
      this.at = at;
      return;
    }
    this.#start = position;
    this.at = this.end = this.safeEnd = 0;
  }

  /** Moves the window: what is left of it comes first, and the bytes that follow are read behind it. */
  async refill(): Promise<void> {
    const { bytes, at, end } = this;
    bytes.copyWithin(0, at, end);
    this.#start += at;
    this.at = 0;
    this.end = end - at;
    const wanted = Math.min(windowBytes, Math.max(this.#source.size - this.#start, 0));
    while (this.end < wanted) {
      const count = await this.#source.read(this.#start + this.end, bytes.subarray(this.end, wanted));
      if (count === 0) break;
      this.end += count;
    }
    bytes[this.end] = 0;
    // A source that ends before its size does is taken as it is: the reader of the format finds out that it ends early
    this.safeEnd = this.end < windowBytes ? this.end + 1 : this.end - marginBytes;
  }
}

/** How many bytes are read at once. They fit the second-level cache of most processors. */
const windowBytes = 2 ** 18;
/** The longest token that readers look at as a whole. */
export const marginBytes = 2 ** 15;
