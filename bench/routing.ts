/**
 * Synthetic routing, the same in every process.
 *
 * @module
 */
import { Random } from '../test/support/random.ts';

/**
 * In `uniform`, each token selects distinct experts uniformly at random, which is hardest for branch prediction. In
 * `skewed`, the numbers of these experts are `numExperts * u ** 3`, rounded down, for a uniform `u` in [0, 1), so that
 * an eighth of the experts gets 44 % of the selections (top-8 of 256). `half empty` is like uniform, but each slot is
 * -1 with a probability of one half.
 */
export type Routing = 'uniform' | 'skewed' | 'half empty';

/** `[numTokens, numTopk]` ids. */
export function makeRouting(routing: Routing, numTokens: number, numTopk: number, numExperts: number): Int32Array {
  const random = new Random(1);
  if (routing === 'skewed') return skewed(random, numTokens, numTopk, numExperts);
  const ids = distinct(random, numTokens, numTopk, numExperts);
  return routing === 'uniform' ? ids : ids.map((id) => (random.chance(0.5) ? -1 : id));
}

function distinct(random: Random, numTokens: number, numTopk: number, numExperts: number): Int32Array {
  const ids = new Int32Array(numTokens * numTopk);
  const experts = Int32Array.from({ length: numExperts }, (_, expert) => expert);
  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const chosen = random.between(slot, numExperts - 1);
      const expert = experts[chosen];
      experts[chosen] = experts[slot];
      experts[slot] = expert;
      ids[token * numTopk + slot] = expert;
    }
  }
  return ids;
}

function skewed(random: Random, numTokens: number, numTopk: number, numExperts: number): Int32Array {
  const ids = new Int32Array(numTokens * numTopk);
  for (let token = 0; token < numTokens; token++) {
    const row = ids.subarray(token * numTopk, (token + 1) * numTopk).fill(-1);
    for (let slot = 0; slot < numTopk; ) {
      const expert = Math.floor(numExperts * (random.below(2 ** 32) / 2 ** 32) ** 3);
      if (!row.includes(expert)) row[slot++] = expert;
    }
  }
  return ids;
}
