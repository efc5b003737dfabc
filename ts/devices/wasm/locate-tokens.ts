/**
 * Locates the ids of tokens, which pass through the window of ids: the first step of every computation.
 *
 * @module
 */
import { InvalidExpertError } from '../../errors/errors.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import { copyIds } from './copy-ids.ts';
import type { WasmKernel } from './kernel.ts';

/**
 * Locates the ids of tokens `[firstToken, end)`, numbered from 0.
 *
 * @throws InvalidExpertError for the first id that is neither an expert nor empty, if `isChecked`.
 */
export function locateTokens(
  kernel: WasmKernel,
  { topkIdx, numTopk, numExperts }: LayoutRequest,
  firstToken: number,
  end: number,
  isChecked: boolean,
): void {
  if (numTopk === 0) return;
  const { type, emptyId } = topkIdx;
  const ids = kernel.ids(type);
  const step = tokensPerWindow(end - firstToken, numTopk * type.bytes, kernel.windows.idsBytes);
  for (let token = firstToken; token < end; token += step) {
    const count = Math.min(step, end - token);
    copyIds(topkIdx, token, count, ids);
    const numIds = count * numTopk;
    if (kernel.locate(type, emptyId, numIds, (token - firstToken) * numTopk) || !isChecked) continue;
    const invalid = kernel.findInvalid(type, emptyId, numIds);
    throw InvalidExpertError.at(token * numTopk + invalid, topkIdx, numExperts);
  }
}

/** How many tokens, of `bytesPerToken` each, a window takes at a time: all of them if they fit, and at least one. */
export function tokensPerWindow(numTokens: number, bytesPerToken: number, windowBytes: number): number {
  return numTokens * bytesPerToken <= windowBytes ? numTokens : Math.max(1, Math.floor(windowBytes / bytesPerToken));
}
