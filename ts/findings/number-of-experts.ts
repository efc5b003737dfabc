/**
 * The number of experts that ids name, where nobody says it.
 *
 * @module
 */
import type { Routing } from '../routing/index.ts';
import { type IdType, idTypes } from '../values/id-types.ts';

/**
 * The largest id that can be of an expert. The largest number of an unsigned type is not, since it is -1 in it, nor are
 * numbers that are larger than any number of experts.
 *
 * @param maxExperts larger numbers of experts do not exist.
 */
export function largestExpert(idType: IdType, maxExperts: number): number {
  const { bytes, isSigned } = idTypes[idType];
  return isSigned ? maxExperts - 1 : Math.min(maxExperts - 1, 2 ** (8 * bytes) - 2);
}

/**
 * One more than the largest id that can be of an expert.
 *
 * @param chosen the layers to look at, as indices of those of the routing.
 * @param maxExperts larger numbers of experts do not exist.
 * @param onPiece is told of each piece that was looked at.
 */
export async function numExpertsIn(
  routing: Routing,
  chosen: readonly number[],
  maxExperts: number,
  onPiece: (numTokens: number) => void = () => {},
): Promise<number> {
  const most = largestExpert(routing.idType, maxExperts);
  let largest = 0;
  for await (const { ids, numTokens } of routing.pieces({ layers: chosen })) {
    const isWide = ids instanceof BigInt64Array || ids instanceof BigUint64Array;
    // The lower halves of wide ids are enough: an id that needs more is larger than any number of experts.
    const words = isWide ? new Uint32Array(ids.buffer, ids.byteOffset, 2 * ids.length) : ids;
    const step = isWide ? 2 : 1;
    for (let at = 0; at < words.length; at += step) {
      const id = words[at];
      if (id > largest && id <= most && (!isWide || words[at + 1] === 0)) largest = id;
    }
    onPiece(numTokens);
  }
  return largest + 1;
}
