/**
 * The least code that computes a layout: no checks, no strides, no placement, one array type. What a careful programmer
 * would write for one model, and so the hardest plain JavaScript to beat.
 *
 * @module
 */
import type { LayoutArrays } from 'dispatch-layout';

const numRanksPerNode = 8;

/** Computes the layout of `[numTokens, numTopk]` valid ids into `out`. */
export function bareLoop(
  ids: Int32Array,
  numTopk: number,
  numExperts: number,
  numRanks: number,
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
      const expert = ids[token * numTopk + slot];
      if (expert < 0) continue;
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
