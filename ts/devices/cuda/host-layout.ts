/**
 * Ends a layout of host arrays: the results reach the caller's arrays.
 *
 * @module
 */
import { DispatchLayoutError, InvalidExpertError } from '../../errors/errors.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { HostLayoutHandle, InvalidSelection } from './addon.ts';
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
    const invalid = addon.synchronizeHost(layout);
    if (invalid !== null) throw invalidExpert(invalid, request);
    if (!addon.copyHostOutputs(layout, request.out)) throw detached(request);
  } finally {
    addon.release(layout);
  }
}

function invalidExpert(
  { token, slot, id }: InvalidSelection,
  { topkIdx, numTopk, numExperts }: LayoutRequest,
): InvalidExpertError {
  // The caller's own values in nested arrays may be wider than the ids that were computed with, which are a copy and so
  // cannot have changed since. A typed array may hold something else by now.
  const isNested = topkIdx.unfit !== null || topkIdx.isBigint !== null;
  const valueAt = () => (isNested ? topkIdx.valueAt(token, slot) : idValue(id, topkIdx.type.name));
  const ids = { numTopk, leadingAxes: topkIdx.leadingAxes, valueAt };
  return InvalidExpertError.at(token * numTopk + slot, ids, numExperts);
}

function detached({ out }: LayoutRequest): DispatchLayoutError {
  return new DispatchLayoutError('DETACHED_BUFFER', 'an array of the results was detached before the layout was done', {
    value: { ...out },
    remedy: 'Wait for the event before transferring the arrays.',
  });
}
