/**
 * Draws routing like that of DeepEP's own tests, optionally more skewed.
 *
 * DeepEP's `tests/test_internode.py` scores every expert at random, keeps the groups (nodes) with the best top score, and
 * takes the top k experts within them. Only the order of the scores matters. Here experts are drawn in this order, one
 * after the other, each with a probability in proportion to its popularity among those that are left; scores that are
 * exponentially distributed would have the same order. The groups with the best top score are those of the first experts
 * that are drawn, so that nobody but the experts of a token need be drawn.
 *
 * @module
 */
import { startProgress } from '../progress.ts';
import { Random } from './random.ts';

/** The routing to draw. */
export interface RoutingModel {
  readonly numLayers: number;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  /** The number of groups of equal size in which the experts are. */
  readonly numGroups: number;
  /** The number of groups from which the experts of a token come. */
  readonly topkGroups: number;
  /** The exponent of Zipf's law, which the popularity of experts follows; with 0 all are equally popular. */
  readonly skew: number;
  /** The probability with which a slot is -1. */
  readonly emptyShare: number;
  readonly seed: number;
}

/** The most tokens that are drawn at once. */
const tokensAtOnce = 1024;

/** The ids of `[numLayers, numTokens, numTopk]`, row-major, in pieces. Each overwrites the one before. */
export function* drawRouting(model: RoutingModel): Generator<Int32Array, void, void> {
  const { numLayers, numTokens, numTopk, numExperts, numGroups, topkGroups, skew, emptyShare } = model;
  const ids = new Int32Array(Math.min(tokensAtOnce, numTokens) * numTopk);
  const progress = startProgress('generating', numLayers * numTokens, 'tokens');
  try {
    for (let layer = 0; layer < numLayers; layer++) {
      const random = new Random(model.seed, layer);
      const urn = new Urn(shuffledPopularity(numExperts, skew, random), numGroups, topkGroups, random);
      for (let first = 0; first < numTokens; first += tokensAtOnce) {
        const end = Math.min(first + tokensAtOnce, numTokens);
        for (let token = first; token < end; token++) {
          const row = (token - first) * numTopk;
          for (let slot = 0; slot < numTopk; slot++) ids[row + slot] = urn.draw();
          urn.refill();
          for (let slot = 0; emptyShare > 0 && slot < numTopk; slot++) {
            if (random.uniform() < emptyShare) ids[row + slot] = -1;
          }
        }
        yield ids.subarray(0, (end - first) * numTopk);
        progress.update(layer * numTokens + end);
      }
    }
  } finally {
    progress.stop();
  }
}

/**
 * The popularity of each expert: (place in popularity)^-skew, which is Zipf's law. Which expert has which place is shuffled
 * anew for each layer, since popularity does not follow the numbers of the experts.
 */
function shuffledPopularity(numExperts: number, skew: number, random: Random): Float64Array {
  const popularity = Float64Array.from({ length: numExperts }, (_, place) => 1 / rounded((place + 1) ** skew));
  for (let last = numExperts - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [popularity[last], popularity[other]] = [popularity[other], popularity[last]];
  }
  return popularity;
}

/** Rounds to 26 binary digits. Engines may compute powers whose last digits differ; rounded, they agree. */
function rounded(value: number): number {
  const shifted = value * (2 ** 27 + 1);
  return shifted - (shifted - value);
}

/** How many draws from all experts are tried before one from those that are left: few must be left then. */
const maxTries = 16;

/** An urn of experts, from which they are drawn without putting them back. */
class Urn {
  readonly #random: Random;
  readonly #popularity: Float64Array;
  readonly #groupSize: number;
  readonly #numGroups: number;
  readonly #topkGroups: number;
  /** Walker's tables, by which one of all experts is drawn at once: the share of each column that is its own expert's. */
  readonly #share: Float64Array;
  /** The expert that has the rest of each column. */
  readonly #other: Int32Array;
  /** The number of the urn's filling in which each expert was drawn last. */
  readonly #drawnIn: Float64Array;
  /** The same for groups. */
  readonly #enteredIn: Float64Array;
  #filling = 1;
  #numEntered = 0;

  /**
   * @param numGroups the number of blocks of equal size in which the experts are.
   * @param topkGroups the number of groups from which experts are drawn until the urn is filled again.
   */
  constructor(popularity: Float64Array, numGroups: number, topkGroups: number, random: Random) {
    this.#random = random;
    this.#popularity = popularity;
    this.#groupSize = popularity.length / numGroups;
    this.#numGroups = numGroups;
    this.#topkGroups = topkGroups;
    this.#share = new Float64Array(popularity.length).fill(1);
    this.#other = Int32Array.from(popularity, (_, expert) => expert);
    this.#drawnIn = new Float64Array(popularity.length);
    this.#enteredIn = new Float64Array(numGroups);
    this.#fillTables();
  }

  /** Draws an expert. */
  draw(): number {
    let expert = -1;
    for (let tries = 0; expert < 0; tries++) {
      const drawn = tries < maxTries ? this.#drawFromAll() : this.#drawFromRest();
      if (this.#isThere(drawn)) expert = drawn;
    }
    this.#drawnIn[expert] = this.#filling;
    if (this.#numGroups > 1) {
      const group = Math.floor(expert / this.#groupSize);
      if (this.#enteredIn[group] !== this.#filling) this.#numEntered++;
      this.#enteredIn[group] = this.#filling;
    }
    return expert;
  }

  /** Puts all experts back. */
  refill(): void {
    this.#filling++;
    this.#numEntered = 0;
  }

  /** Whether an expert has not been drawn, and is of a group from which experts are drawn. */
  #isThere(expert: number): boolean {
    if (this.#drawnIn[expert] === this.#filling) return false;
    if (this.#numEntered < this.#topkGroups || this.#numGroups === 1) return true;
    return this.#enteredIn[Math.floor(expert / this.#groupSize)] === this.#filling;
  }

  #drawFromAll(): number {
    const place = this.#random.uniform() * this.#share.length;
    const column = Math.floor(place);
    return place - column < this.#share[column] ? column : this.#other[column];
  }

  #drawFromRest(): number {
    let sum = 0;
    for (let expert = 0; expert < this.#popularity.length; expert++) {
      if (this.#isThere(expert)) sum += this.#popularity[expert];
    }
    let rest = this.#random.uniform() * sum;
    let last = -1;
    for (let expert = 0; expert < this.#popularity.length && rest >= 0; expert++) {
      if (!this.#isThere(expert)) continue;
      rest -= this.#popularity[expert];
      last = expert;
    }
    return last;
  }

  /** Fills Walker's tables: each column has an equal share of the popularity, that of at most two experts. */
  #fillTables(): void {
    const mean = this.#popularity.reduce((sum, each) => sum + each, 0) / this.#popularity.length;
    const left = this.#popularity.map((each) => each / mean);
    const scarce: number[] = [];
    const ample: number[] = [];
    left.forEach((each, expert) => {
      (each < 1 ? scarce : ample).push(expert);
    });
    while (scarce.length > 0 && ample.length > 0) {
      const column = scarce.pop() as number;
      const giver = ample[ample.length - 1];
      this.#share[column] = left[column];
      this.#other[column] = giver;
      left[giver] -= 1 - left[column];
      if (left[giver] < 1) scarce.push(ample.pop() as number);
    }
  }
}
