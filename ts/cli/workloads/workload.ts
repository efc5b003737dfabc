/**
 * Workloads: which experts the tokens of a layer select, by the name of a pattern that people meet or fear.
 *
 * @module
 */
import { fail } from '../fail.ts';
import { Random } from '../generate/random.ts';
import { EvenDrawer, ShareDrawer, type TokenDrawer } from './draw-tokens.ts';
import {
  evenShares,
  geometricParts,
  hotShares,
  logNormalShares,
  randomExperts,
  type ShareShape,
  sharesOfRanks,
  shuffled,
} from './shares.ts';

/** The patterns. */
export type WorkloadName =
  /** All experts equally often: the counts of two experts never differ by more than one. */
  | 'balanced'
  /** `numHot` experts, which are drawn anew for each layer, have `hotShare` of all selections. */
  | 'k-hot'
  /** The experts of the rank `hotRank` have `maxOverMean` times the selections of an average rank. */
  | 'hot-rank'
  /** The logarithms of the counts of experts are distributed normally, with the standard deviation `sigma`. */
  | 'log-normal'
  /** As `k-hot`, with new hot experts after every `period` tokens. */
  | 'rotating'
  /** `balanced` in expectation, but for the first `burst` tokens of every `period`, which are as `k-hot`. */
  | 'burst'
  /** The busiest rank has `maxOverMean` times the selections of an average rank, and the others less and less. */
  | 'uneven-ranks';

/** The names, for messages and command lines. */
export const workloadNames: readonly WorkloadName[] = [
  'balanced',
  'k-hot',
  'hot-rank',
  'log-normal',
  'rotating',
  'burst',
  'uneven-ranks',
];

/** What a workload depends on. Each pattern uses some of these. */
export interface Workload extends ShareShape {
  readonly name: WorkloadName;
  readonly seed: number;
  readonly numHot: number;
  readonly hotShare: number;
  /** The number of ranks that share the experts, in contiguous blocks of equal size. */
  readonly numRanks: number;
  readonly hotRank: number;
  /** Of the selections by rank. Its inverse is what SGLang and vLLM call balancedness. */
  readonly maxOverMean: number;
  readonly sigma: number;
  /** In tokens. */
  readonly period: number;
  /** In tokens. */
  readonly burst: number;
  /** The probability that a slot, other than the first one, repeats the expert of an earlier slot of the token. */
  readonly duplicates: number;
  /** The probability that a slot is -1. */
  readonly emptyShare: number;
}

/** What the command line assumes where nothing is said. */
export const usualWorkload = {
  numHot: 8,
  hotShare: 0.5,
  hotRank: 0,
  maxOverMean: 2,
  sigma: 0.5,
  period: 4096,
  burst: 512,
  duplicates: 0,
  emptyShare: 0,
} as const;

/** The number of layers for which the random numbers of all ranks are independent. */
const maxLayers = 2 ** 16;
const maxSourceRanks = 2 ** 15;

/**
 * The tokens of one layer that come from one rank. What is popular is the same on all source ranks; the tokens are not.
 */
export class LayerOfTokens {
  readonly #workload: Workload;
  /** What is popular is drawn from this. */
  readonly #popularity: Random;
  readonly #tokens: Random;
  #drawer: TokenDrawer | undefined;
  #token = 0;

  /** @param sourceRank the rank that the tokens come from. */
  constructor(workload: Workload, layer: number, sourceRank = 0) {
    check(workload);
    if (layer >= maxLayers || sourceRank >= maxSourceRanks) {
      fail(`a workload has at most ${maxLayers} layers and ${maxSourceRanks} source ranks`);
    }
    this.#workload = workload;
    this.#popularity = new Random(workload.seed, layer + maxLayers * maxSourceRanks);
    this.#tokens = new Random(workload.seed, layer + maxLayers * sourceRank);
  }

  /**
   * Draws the next tokens: as many as there is room for. What is drawn does not depend on how many are drawn at a time.
   *
   * @param ids `[numTokens, numTopk]`, row-major. Every element is written.
   */
  draw(ids: Int32Array): void {
    const { numTopk } = this.#workload;
    for (let first = 0; first + numTopk <= ids.length && numTopk > 0; first += numTopk) {
      if (this.#drawer === undefined || beginsPhase(this.#workload, this.#token)) this.#drawer = this.#nextDrawer();
      this.#drawer.draw(ids, first);
      this.#repeat(ids, first);
      this.#token++;
    }
  }

  #nextDrawer(): TokenDrawer {
    const { name } = this.#workload;
    return name === 'balanced'
      ? new EvenDrawer(this.#workload, this.#tokens)
      : new ShareDrawer(sharesAt(this.#workload, this.#token, this.#popularity), this.#workload, this.#tokens);
  }

  /** Makes some slots repeat others, and some empty. */
  #repeat(ids: Int32Array, first: number): void {
    const { numTopk, duplicates, emptyShare } = this.#workload;
    for (let slot = 1; slot < numTopk && duplicates > 0; slot++) {
      if (this.#tokens.uniform() < duplicates) ids[first + slot] = ids[first + this.#tokens.below(slot)];
    }
    for (let slot = 0; slot < numTopk && emptyShare > 0; slot++) {
      if (this.#tokens.uniform() < emptyShare) ids[first + slot] = -1;
    }
  }
}

/**
 * How many tokens each source rank has, where they have different numbers of them.
 *
 * @param maxOverMean how many times the average number the rank with most of them has, from 1 to `numRanks`.
 * @returns `[numRanks]`, whose sum is `numTokens`. Which rank has how many is random.
 */
export function raggedTokens(numTokens: number, numRanks: number, maxOverMean: number, seed: number): Int32Array {
  checkUnevenness(maxOverMean, numRanks);
  const parts = geometricParts(numRanks, maxOverMean);
  const places = shuffled(numRanks, new Random(seed, -1));
  const counts = Int32Array.from(places, (place) => Math.floor(parts[place] * numTokens));
  let missing = numTokens - counts.reduce((sum, count) => sum + count, 0);
  const largestFirst = Array.from(places.keys()).sort((left, right) => places[left] - places[right]);
  for (let index = 0; missing > 0; index = (index + 1) % numRanks, missing--) counts[largestFirst[index]]++;
  return counts;
}

/** Whether from this token on other experts are popular than before. */
function beginsPhase({ name, period, burst }: Workload, token: number): boolean {
  if (name === 'rotating') return token % period === 0;
  return name === 'burst' && (token % period === 0 || token % period === burst);
}

/** The shares of the experts from a token on that begins a phase. */
function sharesAt(workload: Workload, token: number, random: Random): Float64Array {
  const { name, numExperts, numHot, hotShare, numRanks, hotRank, maxOverMean, sigma, period, burst } = workload;
  switch (name) {
    case 'balanced':
      return evenShares(workload);
    case 'hot-rank': {
      const others = (1 - maxOverMean / numRanks) / (numRanks - 1);
      const parts = new Float64Array(numRanks).fill(others);
      parts[hotRank] = maxOverMean / numRanks;
      return sharesOfRanks(workload, parts);
    }
    case 'uneven-ranks': {
      const parts = geometricParts(numRanks, maxOverMean);
      return sharesOfRanks(
        workload,
        Float64Array.from(shuffled(numRanks, random), (place) => parts[place]),
      );
    }
    case 'log-normal':
      return logNormalShares(workload, sigma, random);
    case 'burst':
      if (token % period >= burst) return evenShares(workload);
  }
  return hotShares(workload, randomExperts(numHot, numExperts, random), hotShare);
}

/** Refuses parameters that are valid by themselves but not together. */
function check(workload: Workload): void {
  const { name, numExperts, numTopk, numHot, hotShare, numRanks, hotRank, maxOverMean, period, burst } = workload;
  if (numTopk > numExperts) fail(`a token cannot select ${numTopk} different experts of ${numExperts}`);
  if (name === 'k-hot' || name === 'rotating' || name === 'burst') {
    if (numHot > numExperts) fail(`there cannot be ${numHot} hot experts among ${numExperts}`);
    if (numHot === numExperts && hotShare < 1) fail(`all ${numExperts} experts are hot, so they have all selections`);
  }
  if (name === 'burst' && burst >= period) fail(`a burst of ${burst} tokens does not fit in a period of ${period}`);
  if (name === 'hot-rank' || name === 'uneven-ranks') {
    if (numExperts % numRanks !== 0) fail(`${numExperts} experts do not divide evenly among ${numRanks} ranks`);
    if (hotRank >= numRanks) fail(`there is no rank ${hotRank} among ${numRanks}`);
    checkUnevenness(maxOverMean, numRanks);
    if (name === 'hot-rank' && numRanks === 1) fail('with one rank, no rank is hotter than others');
  }
}

function checkUnevenness(maxOverMean: number, numRanks: number): void {
  if (maxOverMean >= 1 && maxOverMean <= numRanks) return;
  fail(`the busiest of ${numRanks} ranks has 1 to ${numRanks} times the average, not ${maxOverMean} times`);
}
