/**
 * Draws the experts of tokens, by the shares of the experts.
 *
 * @module
 */
import type { Random } from '../generate/random.ts';
import { type ShareShape, shuffled, unit, wholeShares } from './shares.ts';

/** Draws the experts of one token after the other. */
export interface TokenDrawer {
  /** Writes the experts of the next token, all different, from an index on. */
  draw(ids: Int32Array, first: number): void;
}

/** The orders of experts among which each token chooses one. More would make no pair of experts more likely. */
const numOrders = 32;

/**
 * Draws different experts, each with exactly the probability that its share says: by systematic sampling. The shares are
 * laid along a line in a random order, and a token takes the experts at points that are one unit apart. No expert is
 * longer than a unit, so none is taken twice.
 */
export class ShareDrawer implements TokenDrawer {
  readonly #numTopk: number;
  readonly #random: Random;
  readonly #orders: readonly Int32Array[];
  /** For each order, where each expert ends on the line. */
  readonly #ends: readonly Float64Array[];

  constructor(shares: Float64Array, shape: ShareShape, random: Random) {
    const whole = wholeShares(shares, shape);
    this.#numTopk = shape.numTopk;
    this.#random = random;
    this.#orders = Array.from({ length: numOrders }, () => shuffled(shape.numExperts, random));
    this.#ends = this.#orders.map((order) => {
      let end = 0;
      return Float64Array.from(order, (expert) => {
        end += whole[expert];
        return end;
      });
    });
  }

  draw(ids: Int32Array, first: number): void {
    const numTopk = this.#numTopk;
    const which = this.#random.below(numOrders);
    const order = this.#orders[which];
    const ends = this.#ends[which];
    const start = this.#random.below(unit);
    // The slots are rotated, so that none of them prefers the experts that lie first
    let slot = numTopk < 2 ? 0 : this.#random.below(numTopk);
    for (let index = 0; index < numTopk; index++) {
      ids[first + slot] = order[firstBeyond(ends, start + index * unit)];
      slot = slot + 1 === numTopk ? 0 : slot + 1;
    }
  }
}

/** The index of the first value that is larger than `point`, in ascending values. The last one must be. */
function firstBeyond(values: Float64Array, point: number): number {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] > point) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Deals experts like cards: after any number of tokens, the counts of two experts differ by one at most. Each round deals
 * every expert equally often, in an order of its own.
 */
export class EvenDrawer implements TokenDrawer {
  readonly #shape: ShareShape;
  readonly #random: Random;
  readonly #tokensPerRound: number;
  #order: Int32Array = new Int32Array(0);
  #token = 0;

  constructor(shape: ShareShape, random: Random) {
    const { numExperts, numTopk } = shape;
    this.#shape = shape;
    this.#random = random;
    this.#tokensPerRound = numExperts / greatestCommonDivisor(numExperts, numTopk);
  }

  draw(ids: Int32Array, first: number): void {
    const { numExperts, numTopk } = this.#shape;
    if (this.#token === 0) this.#order = shuffled(numExperts, this.#random);
    // Neighbours in the order, which is a ring, are different
    for (let slot = 0; slot < numTopk; slot++) {
      ids[first + slot] = this.#order[(this.#token * numTopk + slot) % numExperts];
    }
    this.#token = (this.#token + 1) % this.#tokensPerRound;
  }
}

function greatestCommonDivisor(left: number, right: number): number {
  return right === 0 ? left : greatestCommonDivisor(right, left % right);
}
