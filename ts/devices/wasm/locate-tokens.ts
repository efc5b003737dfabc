/**
 * Ids into the memory of the kernel, window by window, and what is no expert among them.
 *
 * @module
 */
import type { TopkIdx } from '../../input/topk-idx.ts';
import { copyIds } from './copy-ids.ts';
import type { WasmKernel } from './kernel.ts';

/** What {@link locateTokens} returns if all ids are valid. */
export const allValid = -1;

/**
 * Locates the ids of tokens `[firstToken, end)` as number 0 on.
 *
 * @returns in strict mode, the selection `token * numTopk + slot` of the first that is neither an expert nor -1; else, and
 *   if there is none, {@link allValid}.
 */
export function locateTokens(
  kernel: WasmKernel,
  topkIdx: TopkIdx,
  firstToken: number,
  end: number,
  isStrict: boolean,
): number {
  const { type, numTopk } = topkIdx;
  const ids = kernel.ids(type);
  const step = kernel.numTokensOfIds(end - firstToken, numTopk, type);
  for (let token = firstToken; token < end; token += step) {
    const count = Math.min(step, end - token);
    copyIds(topkIdx, token, count, ids);
    const isValid = kernel.locate(type, count * numTopk, (token - firstToken) * numTopk);
    if (isStrict && !isValid) return token * numTopk + kernel.findInvalid(type, count * numTopk);
  }
  return allValid;
}
