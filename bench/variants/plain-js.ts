/**
 * Plain JavaScript: the definition as a loop, as one would write it without tuning. It makes one pass, checks the ids,
 * and divides to find the rank of an expert. It supports only contiguous rows, and equal blocks of experts.
 *
 * @module
 */
import type { LayoutArrays } from 'dispatch-layout';

/** Computes the layout of `[numTokens, numTopk]` ids into `out`. */
export function plainLayout(
  ids: Int32Array | BigInt64Array,
  numTopk: number,
  numExperts: number,
  numRanks: number,
  numRanksPerNode: number,
  out: LayoutArrays,
): void {
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = out;
  numTokensPerRank.fill(0);
  numTokensPerRdmaRank?.fill(0);
  numTokensPerExpert.fill(0);
  isTokenInRank.fill(0);
  const numExpertsPerRank = numExperts / numRanks;
  const lastTokenOfNode = new Int32Array(numRanks).fill(-1);
  const numTokens = ids.length / numTopk;
  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const expert = Number(ids[token * numTopk + slot]);
      if (expert === -1) continue;
      if (expert < 0 || expert >= numExperts) throw new RangeError(`expert ${expert} of token ${token}`);
      numTokensPerExpert[expert]++;
      const rank = Math.floor(expert / numExpertsPerRank);
      if (isTokenInRank[token * numRanks + rank] === 1) continue;
      isTokenInRank[token * numRanks + rank] = 1;
      numTokensPerRank[rank]++;
      if (numTokensPerRdmaRank === null) continue;
      const node = Math.floor(rank / numRanksPerNode);
      if (lastTokenOfNode[node] === token) continue;
      lastTokenOfNode[node] = token;
      numTokensPerRdmaRank[node]++;
    }
  }
}
