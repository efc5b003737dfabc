/**
 * The `js` device: the plain reference. It runs where WebAssembly is missing or forbidden, and it is the semantics in
 * executable form; the other devices must give the same bits.
 *
 * @module
 */
import type { Device } from './device.ts';
import { InvalidExpertError } from './errors.ts';
import type { LayoutArrays } from './layout.ts';
import { noRank, type Partition } from './partition.ts';
import type { TopkIdx } from './topk-idx.ts';

/** The plain JavaScript device. */
export const jsDevice: Device = {
  name: 'js',
  prepare: (partition) => ({
    computeLayout(topkIdx, strict, out) {
      if (strict) checkExperts(topkIdx, partition.numExperts);
      countTokens(topkIdx, partition, out);
    },
  }),
};

function checkExperts(topkIdx: TopkIdx, numExperts: number): void {
  const { data, numTokens, numTopk, offset, tokenStride, slotStride } = topkIdx;
  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const expert = Number(data[offset + token * tokenStride + slot * slotStride]);
      if (expert < -1 || expert >= numExperts) {
        throw new InvalidExpertError(topkIdx.valueAt(token, slot), token, slot, numExperts);
      }
    }
  }
}

function countTokens(topkIdx: TopkIdx, partition: Partition, out: LayoutArrays): void {
  const { data, numTokens, numTopk, offset, tokenStride, slotStride } = topkIdx;
  const { numExperts, numRanks, numRanksPerNode, numRdmaRanks, rankOfExpert } = partition;
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = out;
  numTokensPerRank.fill(0);
  numTokensPerRdmaRank?.fill(0);
  numTokensPerExpert.fill(0);
  isTokenInRank.fill(0);
  const lastTokenOfRdmaRank = new Int32Array(numRdmaRanks).fill(-1);

  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const expert = Number(data[offset + token * tokenStride + slot * slotStride]);
      if (expert < 0 || expert >= numExperts) continue;
      numTokensPerExpert[expert]++;

      const rank = rankOfExpert[expert];
      if (rank === noRank || isTokenInRank[token * numRanks + rank] === 1) continue;
      isTokenInRank[token * numRanks + rank] = 1;
      numTokensPerRank[rank]++;

      const rdmaRank = Math.floor(rank / numRanksPerNode);
      if (numTokensPerRdmaRank === null || lastTokenOfRdmaRank[rdmaRank] === token) continue;
      lastTokenOfRdmaRank[rdmaRank] = token;
      numTokensPerRdmaRank[rdmaRank]++;
    }
  }
}
