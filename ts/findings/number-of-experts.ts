/**
 * The number of experts that ids name, where nobody says it.
 *
 * @module
 */
import type { Routing } from '../routing/index.ts';
import { idTypes } from '../values/id-types.ts';

/**
 * One more than the largest id. The largest number of an unsigned type is left out, since it is -1 in it, and so are
 * numbers that are larger than any number of experts.
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
  const { bytes, isSigned } = idTypes[routing.idType];
  const most = Math.min(maxExperts - 1, isSigned ? maxExperts : 2 ** (8 * bytes) - 2);
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
