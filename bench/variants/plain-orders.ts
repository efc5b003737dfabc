/**
 * Plain JavaScript: the orders of rows as one would write them without tuning. Each makes two passes over an Int32Array,
 * checks the ids, and supports only contiguous rows, no padding, and equal blocks of experts.
 *
 * @module
 */
import type { OrderArrays } from './order.ts';

/** Computes the order by expert into `out`. */
export function plainExpertOrder(
  ids: Int32Array,
  numExperts: number,
  [numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection]: OrderArrays,
): void {
  numTokensPerExpert.fill(0);
  for (let selection = 0; selection < ids.length; selection++) {
    const expert = ids[selection];
    if (expert === -1) continue;
    if (expert < 0 || expert >= numExperts) throw new RangeError(`expert ${expert} of selection ${selection}`);
    numTokensPerExpert[expert]++;
  }
  writeOffsets(numTokensPerExpert, expertOffsets);
  const nextRow = expertOffsets.slice();
  selectionOfRow.fill(-1, expertOffsets[numExperts]);
  for (let selection = 0; selection < ids.length; selection++) {
    const expert = ids[selection];
    const row = expert === -1 ? -1 : nextRow[expert]++;
    rowOfSelection[selection] = row;
    if (row !== -1) selectionOfRow[row] = selection;
  }
}

/** Computes the order by rank into `out`; the first selection of a token for a rank has the row. */
export function plainRankOrder(
  ids: Int32Array,
  numTopk: number,
  numExperts: number,
  numRanks: number,
  [numTokensPerRank, rankOffsets, tokenOfRow, rowOfSelection]: OrderArrays,
): void {
  const numTokens = ids.length / numTopk;
  const numExpertsPerRank = numExperts / numRanks;
  const lastToken = new Int32Array(numRanks).fill(-1);
  numTokensPerRank.fill(0);
  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const expert = ids[token * numTopk + slot];
      if (expert === -1) continue;
      if (expert < 0 || expert >= numExperts) throw new RangeError(`expert ${expert} of token ${token}`);
      const rank = Math.floor(expert / numExpertsPerRank);
      if (lastToken[rank] === token) continue;
      lastToken[rank] = token;
      numTokensPerRank[rank]++;
    }
  }
  writeOffsets(numTokensPerRank, rankOffsets);
  const nextRow = rankOffsets.slice();
  tokenOfRow.fill(-1, rankOffsets[numRanks]);
  rowOfSelection.fill(-1);
  lastToken.fill(-1);
  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const expert = ids[token * numTopk + slot];
      if (expert === -1) continue;
      const rank = Math.floor(expert / numExpertsPerRank);
      if (lastToken[rank] === token) continue;
      lastToken[rank] = token;
      const row = nextRow[rank]++;
      tokenOfRow[row] = token;
      rowOfSelection[token * numTopk + slot] = row;
    }
  }
}

/** Adds up how many rows each key has. */
function writeOffsets(numRowsOfKey: Int32Array, offsets: Int32Array): void {
  let row = 0;
  for (let key = 0; key < numRowsOfKey.length; key++) {
    offsets[key] = row;
    row += numRowsOfKey[key];
  }
  offsets[numRowsOfKey.length] = row;
}
