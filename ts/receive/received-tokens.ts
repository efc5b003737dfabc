/**
 * The tokens that a rank receives, when the ids of all ranks are known.
 *
 * @module
 */
import { allocateInt32 } from '../errors/allocate.ts';
import type { LocatedIds } from './located-ids.ts';
import type { ReceiveLayout } from './receive-layout.ts';

/** The ids of received tokens, in a form that `getExpertPermutation` takes. */
export interface ReceivedIds {
  /** `[numTokens * numTopk]`: the local expert of each slot, -1 for none. */
  readonly data: Int32Array;
  /** `[numTokens, numTopk]` */
  readonly shape: readonly [number, number];
}

/** What a rank receives, token by token, in the order (source rank, token). */
export interface ReceivedTokens extends ReceiveLayout {
  /** `[numTokens]` int32: the rank that each received token comes from. */
  readonly sourceRankOfRow: Int32Array;
  /** `[numTokens]` int32: the token of that rank. */
  readonly sourceTokenOfRow: Int32Array;
  /**
   * `[numTokens, numTopk]` int32: the local expert of each slot of each received token, -1 where the slot is empty or
   * its expert is on another rank. `getExpertPermutation(topkIdx, numLocalExperts)` orders the received tokens by
   * (expert, source rank, token, slot).
   */
  readonly topkIdx: ReceivedIds;
}

/** A rank that sends: its ids, and its tokens in the order in which it sends them. */
export interface SourceRank {
  readonly ids: LocatedIds;
  /** `[numRanks + 1]`: the first row for each rank. */
  readonly rankOffsets: Int32Array;
  /** `[rankOffsets[numRanks]]`: the token of each row. */
  readonly tokenOfRow: Int32Array;
}

/**
 * Collects the tokens that a rank receives.
 *
 * @param localExpertOf the local expert for each expert, -1 for those of other ranks.
 */
export function receivedTokens(
  layout: ReceiveLayout,
  sources: readonly SourceRank[],
  numTopk: number,
  localExpertOf: Int32Array,
): ReceivedTokens {
  const { rank, numTokens } = layout;
  const allocate = (length: number): Int32Array =>
    allocateInt32(length, `the ${numTokens} tokens that rank ${rank} receives`, 'Simulate fewer tokens at once.');
  const sourceRankOfRow = allocate(numTokens);
  const sourceTokenOfRow = allocate(numTokens);
  const data = allocate(numTokens * numTopk);
  let row = 0;
  for (const [source, { ids, rankOffsets, tokenOfRow }] of sources.entries()) {
    for (let index = rankOffsets[rank]; index < rankOffsets[rank + 1]; index++, row++) {
      const token = tokenOfRow[index];
      sourceRankOfRow[row] = source;
      sourceTokenOfRow[row] = token;
      for (let slot = 0; slot < numTopk; slot++) {
        const expert = ids.data[token * numTopk + slot];
        data[row * numTopk + slot] = expert < 0 ? -1 : localExpertOf[expert];
      }
    }
  }
  return { ...layout, sourceRankOfRow, sourceTokenOfRow, topkIdx: { data, shape: [numTokens, numTopk] } };
}
