/**
 * Draws routing like that of DeepEP's own tests, optionally more skewed.
 *
 * DeepEP's `tests/test_internode.py` scores every expert at random, keeps the groups (nodes) with the best top score, and
 * takes the top k experts within them. Only the order of the scores matters there, so any distribution of scores gives the
 * same routing. Here the scores are the times of a race in which each expert's time is exponentially distributed: an expert
 * wins with a probability in proportion to its popularity.
 *
 * @module
 */
import { startProgress } from '../progress.ts';
import { logarithm, Random } from './random.ts';

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

/** The number of tokens after which the progress is updated. */
const tokensPerStep = 1024;

/** @param write receives the id of every slot of `[numLayers, numTokens, numTopk]`, row-major, with its index. */
export function drawRouting(model: RoutingModel, write: (index: number, id: number) => void): void {
  const { numLayers, numTokens, numTopk, numExperts, numGroups, topkGroups, skew, emptyShare } = model;
  const race = new Float64Array(numExperts);
  const groupRace = new Float64Array(numGroups);
  const bestGroups = new Int32Array(topkGroups);
  const bestExperts = new Int32Array(numTopk);
  const progress = startProgress('generating', numLayers * numTokens);
  try {
    for (let layer = 0; layer < numLayers; layer++) {
      const random = new Random(model.seed, layer);
      const slowness = shuffledSlowness(numExperts, skew, random);
      for (let token = 0; token < numTokens; token++) {
        for (let expert = 0; expert < numExperts; expert++) {
          const uniform = random.uniform();
          // Without skew, only the order of the logarithms matters, and that is the order of the numbers themselves.
          race[expert] = skew === 0 ? -uniform : -logarithm(uniform) * slowness[expert];
        }
        if (topkGroups < numGroups) leaveOutGroups(race, groupRace, bestGroups);
        smallest(race, bestExperts);
        const row = (layer * numTokens + token) * numTopk;
        for (let slot = 0; slot < numTopk; slot++) {
          write(row + slot, emptyShare > 0 && random.uniform() < emptyShare ? -1 : bestExperts[slot]);
        }
        if (token % tokensPerStep === 0) progress.update(layer * numTokens + token);
      }
    }
  } finally {
    progress.stop();
  }
}

/**
 * The factors by which the times of the experts in the race are multiplied: (place in popularity)^skew, which is Zipf's
 * law. Which expert has which place is shuffled anew for each layer, since popularity does not follow the numbers of
 * the experts.
 */
function shuffledSlowness(numExperts: number, skew: number, random: Random): Float64Array {
  // Engines may compute powers whose last bits differ. Rounded to 32 bits, they agree.
  const slowness = Float64Array.from({ length: numExperts }, (_, place) => Math.fround((place + 1) ** skew));
  for (let last = numExperts - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [slowness[last], slowness[other]] = [slowness[other], slowness[last]];
  }
  return slowness;
}

/** Takes the experts of all but the best groups out of the race. A group is as good as its best expert. */
function leaveOutGroups(race: Float64Array, groupRace: Float64Array, bestGroups: Int32Array): void {
  const groupSize = race.length / groupRace.length;
  for (let group = 0; group < groupRace.length; group++) {
    let best = race[group * groupSize];
    for (let expert = group * groupSize + 1; expert < (group + 1) * groupSize; expert++) {
      if (race[expert] < best) best = race[expert];
    }
    groupRace[group] = best;
  }
  smallest(groupRace, bestGroups);
  for (let group = 0; group < groupRace.length; group++) {
    if (!bestGroups.includes(group)) race.fill(Number.POSITIVE_INFINITY, group * groupSize, (group + 1) * groupSize);
  }
}

/**
 * Fills `best` with the indices of the smallest values, the smallest first. Of equal values the one with the lower index
 * comes first.
 */
function smallest(values: Float64Array, best: Int32Array): void {
  let found = 0;
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (found === best.length && (found === 0 || value >= values[best[found - 1]])) continue;
    let place = found < best.length ? found++ : found - 1;
    for (; place > 0 && value < values[best[place - 1]]; place--) best[place] = best[place - 1];
    best[place] = index;
  }
}
