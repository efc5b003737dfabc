/**
 * Random numbers that are the same on every machine and engine. They are made of integer arithmetic and of floating-point
 * operations whose results IEEE 754 prescribes to the last bit.
 *
 * @module
 */

/**
 * The generator sfc32 by Chris Doty-Humphrey, from PractRand. Of its 128 bits of state 32 are a counter, so it repeats
 * itself after 2^32 numbers at the earliest.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;
  /** Numbers that were made in advance, since many at once are several times as fast. */
  readonly #numbers = new Float64Array(256);
  #next = 256;

  /**
   * @param seed a whole number below 2^53.
   * @param stream a number that selects one of the seed's streams, which are independent of each other.
   */
  constructor(seed: number, stream: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    this.#c = stream | 0;
    // PractRand seeds sfc32 in the same way, with 12 rounds, after which similar seeds give unrelated numbers. The other 8
    // rounds are a margin. Each number takes two.
    for (let number = 0; number < 10; number++) this.uniform();
  }

  /** A number strictly between 0 and 1, one of 2^52 equally likely ones. */
  uniform(): number {
    if (this.#next === this.#numbers.length) this.#fill();
    return this.#numbers[this.#next++];
  }

  #fill(): void {
    const numbers = this.#numbers;
    // The state is in variables, which are faster than the fields. A number takes two rounds.
    let a = this.#a;
    let b = this.#b;
    let c = this.#c;
    let counter = this.#counter;
    for (let index = 0; index < numbers.length; index++) {
      const high = (((a + b) | 0) + counter) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + high) | 0;
      const low = (((a + b) | 0) + counter + 1) | 0;
      counter = (counter + 2) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + low) | 0;
      numbers[index] = ((high >>> 6) * 2 ** 26 + (low >>> 6) + 0.5) / 2 ** 52;
    }
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#counter = counter;
    this.#next = 0;
  }

  /** A whole number in [0, bound). The bound must be far below 2^52, or some numbers would be more likely than others. */
  below(bound: number): number {
    return Math.floor(this.uniform() * bound);
  }
}
