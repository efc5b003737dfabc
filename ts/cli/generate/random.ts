/**
 * Random numbers that are the same on every machine and engine. They are made of integer arithmetic and of floating-point
 * operations whose results IEEE 754 prescribes to the last bit. `Math.log` is not one of them, so there is a logarithm
 * here.
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

  /**
   * @param seed a whole number below 2^53.
   * @param stream a number that selects one of the seed's streams, which are independent of each other.
   */
  constructor(seed: number, stream: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    this.#c = stream | 0;
    // PractRand seeds sfc32 in the same way, with 12 rounds, after which similar seeds give unrelated numbers. The other 8
    // rounds are a margin.
    for (let round = 0; round < 20; round++) this.bits();
  }

  /** 32 random bits, as a number in [0, 2^32). */
  bits(): number {
    const result = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  /** A number strictly between 0 and 1, one of 2^52 equally likely ones. */
  uniform(): number {
    const high = this.bits() >>> 6;
    const low = this.bits() >>> 6;
    return (high * 2 ** 26 + low + 0.5) / 2 ** 52;
  }

  /** A whole number in [0, bound). The bound must be far below 2^52, or some numbers would be more likely than others. */
  below(bound: number): number {
    return Math.floor(this.uniform() * bound);
  }
}

/** The natural logarithm of a number in (0, 1), to about 15 digits. */
export function logarithm(value: number): number {
  let mantissa = value;
  let exponent = 0;
  while (mantissa < Math.SQRT1_2) {
    mantissa *= 2;
    exponent--;
  }
  // ln m = 2 atanh((m - 1) / (m + 1)). Here |ratio| < 0.172, so the first term that is left out, of power 23, is below
  // 0.172^23 / 23 < 2e-19.
  const ratio = (mantissa - 1) / (mantissa + 1);
  const square = ratio * ratio;
  let series = 0;
  for (let power = 21; power >= 1; power -= 2) series = series * square + 1 / power;
  return 2 * ratio * series + exponent * Math.LN2;
}
