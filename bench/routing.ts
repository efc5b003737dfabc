/**
 * Synthetic routing for benchmarks.
 *
 * @module
 */

/** `[numTokens, numTopk]` distinct experts per token, uniformly at random: the hardest case for branch prediction. */
export function randomRouting(numTokens: number, numTopk: number, numExperts: number): Int32Array {
  const ids = new Int32Array(numTokens * numTopk);
  const experts = Int32Array.from({ length: numExperts }, (_, expert) => expert);
  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const chosen = slot + Math.floor(Math.random() * (numExperts - slot));
      [experts[slot], experts[chosen]] = [experts[chosen], experts[slot]];
      ids[token * numTopk + slot] = experts[slot];
    }
  }
  return ids;
}
