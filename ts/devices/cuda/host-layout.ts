/**
 * Ends a layout of host arrays: the results reach the caller's arrays.
 *
 * @module
 */
import { DispatchLayoutError, InvalidExpertError } from '../../errors/errors.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { HostLayoutHandle } from './addon.ts';
import { idValue } from './id-check.ts';
import { addonInUse } from './runtime.ts';

/**
 * Waits for a layout, writes its results to the arrays of the request, and releases what it has used. If this throws,
 * the arrays are untouched.
 *
 * @throws InvalidExpertError; DispatchLayoutError `DETACHED_BUFFER`; {@link CudaError}
 */
export function finishHostLayout(layout: HostLayoutHandle, request: LayoutRequest): void {
  const addon = addonInUse();
  try {
    const selection = addon.synchronizeHost(layout);
    if (selection >= 0) throw invalidExpert(layout, request, selection);
    if (!addon.copyHostOutputs(layout, request.out)) throw detached(request);
  } finally {
    addon.release(layout);
  }
}

function invalidExpert(
  layout: HostLayoutHandle,
  { topkIdx, numTopk, numExperts }: LayoutRequest,
  selection: number,
): InvalidExpertError {
  // The caller's own values in nested arrays may be wider than the ids that were computed with, which are a copy and so
  // cannot have changed since. A typed array may hold something else by now.
  const isNested = topkIdx.unfit !== null || topkIdx.isBigint !== null;
  const valueAt = (token: number, slot: number) =>
    isNested ? topkIdx.valueAt(token, slot) : idValue(addonInUse().readHostId(layout, selection), topkIdx.type.name);
  return InvalidExpertError.at(selection, { numTopk, leadingAxes: topkIdx.leadingAxes, valueAt }, numExperts);
}

function detached({ out }: LayoutRequest): DispatchLayoutError {
  return new DispatchLayoutError('DETACHED_BUFFER', 'an array of the results was detached before the layout was done', {
    value: { ...out },
    remedy: 'Wait for the event before transferring the arrays.',
  });
}
