/**
 * How often each expert is selected. A share is the probability that a token selects the expert, so that the shares of
 * all experts add up to the number of experts that a token selects.
 *
 * Every engine computes the same shares: they are made by operations whose results IEEE 754 prescribes, and by others only
 * if their results are rounded to 32 bits.
 *
 * @module
 */
import { fail } from '../fail.ts';
import type { Random } from '../generate/random.ts';
import { logarithm } from './logarithm.ts';

/** What shares are made for. */
export interface ShareShape {
  readonly numExperts: number;
  readonly numTopk: number;
}

/** All experts alike. */
export function evenShares({ numExperts, numTopk }: ShareShape): Float64Array {
  return new Float64Array(numExperts).fill(numTopk / numExperts);
}

/** Some experts have a part of all selections, and the others have the rest. Within both, all are alike. */
export function hotShares({ numExperts, numTopk }: ShareShape, hot: readonly number[], hotShare: number): Float64Array {
  const numCold = numExperts - hot.length;
  const cold = numCold === 0 ? 0 : (numTopk * (1 - hotShare)) / numCold;
  const shares = new Float64Array(numExperts).fill(cold);
  for (const expert of hot) shares[expert] = (numTopk * hotShare) / hot.length;
  return shares;
}

/** Different experts, in no particular order. */
export function randomExperts(count: number, numExperts: number, random: Random): number[] {
  return [...shuffled(numExperts, random).subarray(0, count)];
}

/** The numbers from 0 to `length - 1` in a random order. */
export function shuffled(length: number, random: Random): Int32Array {
  const order = new Int32Array(length).map((_, index) => index);
  for (let last = length - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [order[last], order[other]] = [order[other], order[last]];
  }
  return order;
}

/** Gives the experts of each rank, a contiguous block, what the rank has of all selections. */
export function sharesOfRanks({ numExperts, numTopk }: ShareShape, partOfRank: ArrayLike<number>): Float64Array {
  const expertsPerRank = numExperts / partOfRank.length;
  return Float64Array.from(
    { length: numExperts },
    (_, expert) => (numTopk * partOfRank[Math.floor(expert / expertsPerRank)]) / expertsPerRank,
  );
}

/**
 * Log-normal shares: the logarithms are at the quantiles of a normal distribution. Which expert has which of them is
 * random.
 *
 * @param sigma the standard deviation of the logarithms.
 */
export function logNormalShares({ numExperts, numTopk }: ShareShape, sigma: number, random: Random): Float64Array {
  const places = shuffled(numExperts, random);
  const weights = Float64Array.from(places, (place) =>
    // Engines may compute powers whose last bits differ. Rounded to 32 bits, they agree
    Math.fround(Math.exp(Math.fround(sigma * normalQuantile((place + 0.5) / numExperts)))),
  );
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => (numTopk * weight) / sum);
}

/**
 * Parts of a whole, of which the largest is so many times as large as the mean: a geometric series.
 *
 * @param maxOverMean from 1 to `length`.
 * @returns the parts, the largest first. Their sum is 1.
 */
export function geometricParts(length: number, maxOverMean: number): Float64Array {
  // With a ratio q of neighbours the largest part is 1 / (1 + q + q^2 + …), which falls as q rises
  const sumOf = (ratio: number) => {
    let sum = 0;
    for (let index = 0; index < length; index++) sum = sum * ratio + 1;
    return sum;
  };
  let low = 0;
  let high = 1;
  for (let step = 0; step < 60; step++) {
    const middle = (low + high) / 2;
    if (sumOf(middle) * maxOverMean > length) high = middle;
    else low = middle;
  }
  const parts = new Float64Array(length);
  let part = 1 / sumOf(high);
  for (let index = 0; index < length; index++, part *= high) parts[index] = part;
  return parts;
}

/** The unit of whole-numbered shares: an expert that every token selects has this share. */
export const unit = 2 ** 30;

/**
 * Turns shares into multiples of 1 / {@link unit}, so that all sums of them are exact.
 *
 * @returns whole numbers from 0 to `unit`, whose sum is `numTopk * unit`.
 */
export function wholeShares(shares: Float64Array, { numTopk }: ShareShape): Float64Array {
  const whole = shares.map((share) => Math.min(unit, Math.floor(share * unit)));
  const largest = shares.indexOf(Math.max(...shares));
  if (shares[largest] > 1 + 1e-9) {
    fail(
      `an expert would be selected ${shares[largest].toFixed(2)} times by each token, but a token selects it once at most: make the workload less uneven`,
    );
  }
  // What is missing goes to those with the largest rests, as seats do in an election
  const missing = numTopk * unit - whole.reduce((sum, share) => sum + share, 0);
  const order = Array.from(shares, (_, expert) => expert);
  const restOf = (expert: number) => shares[expert] * unit - whole[expert];
  order.sort((left, right) => restOf(right) - restOf(left) || left - right);
  for (let step = 0, left = missing; left > 0; step++) {
    const expert = order[step % order.length];
    if (whole[expert] >= unit) continue;
    whole[expert]++;
    left--;
  }
  return whole;
}

/**
 * The quantile of the standard normal distribution, by Peter Acklam's rational approximation, whose relative error is
 * below 1.15e-9.
 */
function normalQuantile(probability: number): number {
  if (probability > 0.5) return -normalQuantile(1 - probability);
  if (probability < 0.02425) {
    const root = Math.sqrt(-2 * logarithm(probability));
    return (
      polynomial(
        root,
        [
          -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968,
          2.938163982698783,
        ],
      ) / polynomial(root, [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1])
    );
  }
  const offset = probability - 0.5;
  const square = offset * offset;
  return (
    (offset *
      polynomial(
        square,
        [
          -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1,
          2.506628277459239,
        ],
      )) /
    polynomial(
      square,
      [-5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1, 1],
    )
  );
}

/** A polynomial, with the coefficient of the highest power first. */
function polynomial(value: number, coefficients: readonly number[]): number {
  return coefficients.reduce((sum, coefficient) => sum * value + coefficient, 0);
}
