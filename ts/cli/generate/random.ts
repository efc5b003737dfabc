/**
 * Random numbers that are the same on every machine and engine: integer arithmetic, and floating-point operations that IEEE 754
 * fixes to the last bit (so no `Math.log`, whose last bit it does not).
 *
 * @module
 */

/**
 * Chris Doty-Humphrey's sfc32 (PractRand): 128 bits of state, a counter among them, so that no stream is shorter than 2^32.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /**
   * @param seed a whole number below 2^53.
   * @param stream streams of one seed are independent of each other.
   */
  constructor(seed: number, stream: number) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / 2 ** 32) | 0;
    this.#c = stream | 0;
    // The seeding of PractRand's own sfc32: 12 rounds mix close seeds apart; a few more cost nothing.
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

  /** A whole number in [0, bound), for bounds far below 2^52. */
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
  // ln m = 2 atanh((m - 1) / (m + 1)). Here |ratio| < 0.172, so the terms left out are below 0.172^23 / 23 < 2e-19.
  const ratio = (mantissa - 1) / (mantissa + 1);
  const square = ratio * ratio;
  let series = 0;
  for (let power = 21; power >= 1; power -= 2) series = series * square + 1 / power;
  return 2 * ratio * series + exponent * Math.LN2;
}
