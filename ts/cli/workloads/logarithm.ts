/**
 * A logarithm that is the same on every machine and engine. That of `Math` is not: IEEE 754 does not prescribe its last
 * digits.
 *
 * @module
 */

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
