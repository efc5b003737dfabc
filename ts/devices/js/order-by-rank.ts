/**
 * The order by rank, plainly.
 *
 * @module
 */

import { expertOf } from '../../input/expert-of.ts';
import { noRank } from '../../input/partition.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { RankOrder } from '../../layout/outputs.ts';

/** Orders tokens by (rank, token), each once for every rank that it goes to. */
export function orderByRank({ topkIdx, numTokens, numTopk, partition, out, computation }: LayoutRequest): void {
  const { winner } = computation as RankOrder;
  const { data, offset, tokenStride, slotStride, emptyId } = topkIdx;
  const { numExperts, numRanks, rankOfExpert } = partition;
  const { numTokensPerRank, rankOffsets, tokenOfRow, rowOfSelection } = out;
  /** Calls `visit` for the winner of each token for each of its ranks. The tokens come in order. */
  const forEachRow = (visit: (token: number, slot: number, rank: number) => void): void => {
    const lastTokenOfRank = new Int32Array(numRanks).fill(-1);
    for (let token = 0; token < numTokens; token++) {
      for (let i = 0; i < numTopk; i++) {
        const slot = winner === 'first' ? i : numTopk - 1 - i;
        const expert = expertOf(data[offset + token * tokenStride + slot * slotStride], numExperts, emptyId);
        const rank = expert < 0 ? noRank : rankOfExpert[expert];
        if (rank === noRank || lastTokenOfRank[rank] === token) continue;
        lastTokenOfRank[rank] = token;
        visit(token, slot, rank);
      }
    }
  };

  numTokensPerRank.fill(0);
  forEachRow((_token, _slot, rank) => numTokensPerRank[rank]++);

  rankOffsets[0] = 0;
  for (let rank = 0; rank < numRanks; rank++) rankOffsets[rank + 1] = rankOffsets[rank] + numTokensPerRank[rank];

  tokenOfRow.fill(-1);
  rowOfSelection.fill(-1);
  const nextRow = rankOffsets.slice();
  forEachRow((token, slot, rank) => {
    const row = nextRow[rank]++;
    tokenOfRow[row] = token;
    rowOfSelection[token * numTopk + slot] = row;
  });
}
