/**
 * How the tokens of a rank are spread over the channels by which DeepEP sends them.
 *
 * @module
 */
import { allocateInt32 } from '../errors/allocate.ts';
import { checkAttached, wrongValue } from '../errors/checks.ts';
import { bytesOfMaskRow, type LayoutArrays, type LayoutShape, type MaskForm } from '../layout/outputs.ts';
import { isGpuTensor } from '../layout/tensors.ts';
import { typedArrayName } from '../values/typed-array.ts';

/**
 * The tokens that a sender has for each rank in the channels up to each one: `[numRanks, numChannels]` int32,
 * row-major. Channel c has the tokens from `c * n` on, where n is `ceil(numTokens / numChannels)`. It is what DeepEP V1
 * calls `channel_prefix_matrix` (`csrc/kernels/legacy/intranode.cu`).
 *
 * ```ts
 * import { channelPrefix, getDispatchLayout } from 'dispatch-layout';
 *
 * const layout = getDispatchLayout([[0, 5], [6, -1], [1, 0], [4, 1]], 8, { numRanks: 4 });
 * console.log(layout.numTokensPerRank.join(' ')); // 3 0 2 1
 * console.log(channelPrefix(layout, 2).join(' ')); // 1 3 0 0 1 2 1 1
 * ```
 *
 * @param layout a finished layout in host arrays, with `isTokenInRank` in bytes or in bits.
 * @param numChannels the number of channels; DeepEP has half as many as it has streaming multiprocessors for it.
 * @throws {@link DispatchLayoutError} `OPTION` if `numChannels` is no integer from 1 on, or if `layout` is something
 *   else; `OUT_OF_MEMORY`; `DETACHED_BUFFER`
 */
export function channelPrefix(
  layout: LayoutArrays<Exclude<MaskForm, 'none'>> & Pick<LayoutShape, 'numTokens' | 'numRanks'>,
  numChannels: number,
): Int32Array {
  const { numTokens, numRanks, isTokenInRank } = Object(layout) as typeof layout;
  if (!Number.isInteger(numChannels) || numChannels < 1) {
    throw wrongValue('OPTION', 'numChannels', numChannels, 'It must be an integer, 1 or more.');
  }
  const rowBytes = checkMask(layout, isTokenInRank, numTokens, numRanks);
  const isBits = rowBytes < numRanks;
  const what = `the table of ${numRanks} ranks x ${numChannels} channels`;
  const prefix = allocateInt32(numRanks * numChannels, what, 'Correct numChannels.');
  const sent = allocateInt32(numRanks, what, 'Correct numChannels.');
  const tokensPerChannel = Math.ceil(numTokens / numChannels);
  let token = 0;
  for (let channel = 0; channel < numChannels; channel++) {
    const end = Math.min(numTokens, (channel + 1) * tokensPerChannel);
    for (; token < end; token++) {
      const row = token * rowBytes;
      for (let rank = 0; rank < numRanks; rank++) {
        sent[rank] += isBits ? (isTokenInRank[row + (rank >> 3)] >> (rank & 7)) & 1 : isTokenInRank[row + rank];
      }
    }
    for (let rank = 0; rank < numRanks; rank++) prefix[rank * numChannels + channel] = sent[rank];
  }
  return prefix;
}

/**
 * Checks the rows of a layout, and returns the number of bytes of a row, by which bits and bytes differ. With one rank,
 * the two forms are the same.
 */
function checkMask(layout: unknown, mask: unknown, numTokens: unknown, numRanks: number): number {
  const remedy = 'Pass a layout in host arrays, with isTokenInRank: its mask must not be none.';
  const isShape = Number.isInteger(numTokens) && Number.isInteger(numRanks) && numRanks > 0;
  if (isGpuTensor(mask) || typedArrayName(mask) !== 'Uint8Array' || !isShape) {
    throw wrongValue('OPTION', 'layout', layout, remedy);
  }
  const rows = mask as Uint8Array;
  checkAttached(rows, 'isTokenInRank', 'layout.');
  for (const form of ['bytes', 'bits'] as const) {
    const rowBytes = bytesOfMaskRow(numRanks, form);
    if (rows.length === (numTokens as number) * rowBytes) return rowBytes;
  }
  throw wrongValue('OPTION', 'layout', layout, remedy);
}
