/**
 * The layout, plainly.
 *
 * @module
 */

import { expertOf } from '../../input/expert-of.ts';
import { noRank } from '../../input/partition.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import { bytesOfMaskRow, type LayoutComputation } from '../../layout/outputs.ts';

/** Counts tokens, and writes which of them go to which rank. */
export function countTokens({ topkIdx, numTokens, numTopk, partition, out, computation }: LayoutRequest): void {
  const { mask } = computation as LayoutComputation;
  const { data, offset, tokenStride, slotStride, emptyId } = topkIdx;
  const { numExperts, numRanks, numRanksPerNode, numRdmaRanks, rankOfExpert } = partition;
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = out;
  numTokensPerRank.fill(0);
  numTokensPerRdmaRank?.fill(0);
  numTokensPerExpert.fill(0);
  isTokenInRank?.fill(0);
  const rowBytes = bytesOfMaskRow(numRanks, mask);
  const lastTokenOfRank = new Int32Array(numRanks).fill(-1);
  const lastTokenOfRdmaRank = new Int32Array(numRdmaRanks).fill(-1);

  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const expert = expertOf(data[offset + token * tokenStride + slot * slotStride], numExperts, emptyId);
      if (expert < 0) continue;
      numTokensPerExpert[expert]++;

      const rank = rankOfExpert[expert];
      if (rank === noRank || lastTokenOfRank[rank] === token) continue;
      lastTokenOfRank[rank] = token;
      numTokensPerRank[rank]++;
      if (isTokenInRank !== null) {
        if (mask === 'bits') isTokenInRank[token * rowBytes + (rank >> 3)] |= 1 << (rank & 7);
        else isTokenInRank[token * rowBytes + rank] = 1;
      }

      const rdmaRank = Math.floor(rank / numRanksPerNode);
      if (numTokensPerRdmaRank === null || lastTokenOfRdmaRank[rdmaRank] === token) continue;
      lastTokenOfRdmaRank[rdmaRank] = token;
      numTokensPerRdmaRank[rdmaRank]++;
    }
  }
}
