/**
 * The number of experts that ids name, where neither a flag nor the file says it.
 *
 * @module
 */
import { limits } from '../flags.ts';
import { idTypes } from '../library.ts';
import type { ChosenRouting } from '../read/routing.ts';

/**
 * One more than the largest id. The largest number of an unsigned type is left out, since it is -1 in it, and so are
 * numbers that are larger than any number of experts.
 */
export async function numExpertsIn({ routing, chosen }: ChosenRouting): Promise<number> {
  const { bytes, isSigned } = idTypes[routing.idType];
  const most = Math.min(limits.experts - 1, isSigned ? limits.experts : 2 ** (8 * bytes) - 2);
  let largest = 0;
  for await (const { ids } of routing.pieces({ layers: chosen })) {
    const isWide = ids instanceof BigInt64Array || ids instanceof BigUint64Array;
    // The lower halves of wide ids are enough: an id that needs more is larger than any number of experts.
    const words = isWide ? new Uint32Array(ids.buffer, ids.byteOffset, 2 * ids.length) : ids;
    const step = isWide ? 2 : 1;
    for (let at = 0; at < words.length; at += step) {
      const id = words[at];
      if (id > largest && id <= most && (!isWide || words[at + 1] === 0)) largest = id;
    }
  }
  return largest + 1;
}
