/**
 * Ids into the memory of the kernel, window by window, and what is no expert among them.
 *
 * @module
 */
import { copyIds } from './copy-ids.ts';
import type { TopkIdx } from './topk-idx.ts';
import { WasmKernel } from './wasm-kernel.ts';

/** What {@link locateTokens} returns if all ids are valid. */
export const allValid = -1;

/**
 * Locates the ids of tokens `[firstToken, end)` as number `firstId` on.
 *
 * @returns in strict mode, the position `token * numTopk + slot` of the first that is neither an expert nor -1; else, and
 *   if there is none, {@link allValid}.
 */
export function locateTokens(
  kernel: WasmKernel,
  topkIdx: TopkIdx,
  firstToken: number,
  end: number,
  firstId: number,
  strict: boolean,
): number {
  const { idType, numTopk } = topkIdx;
  const ids = kernel.ids(idType);
  const step = WasmKernel.numTokensOfIds(numTopk, ids.BYTES_PER_ELEMENT);
  for (let token = firstToken; token < end; token += step) {
    const count = Math.min(step, end - token);
    copyIds(topkIdx, token, count, ids);
    const isValid = kernel.locate(idType, count * numTopk, firstId + (token - firstToken) * numTopk);
    if (strict && !isValid) return token * numTopk + kernel.findInvalid(idType, count * numTopk);
  }
  return allValid;
}
