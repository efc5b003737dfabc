/**
 * What the tests of tensors compare: a layout that was copied to the host, and the one that `js` computes.
 *
 * @module
 */
import {
  type DispatchLayoutOptions,
  getDispatchLayout,
  type LayoutArrays,
  type MaskForm,
  type TopkIdxInput,
} from 'dispatch-layout';
import type { DeviceDispatchLayout } from 'dispatch-layout/cuda';
import { forOutputs } from '../conformance/oracle.ts';

export function toHost(layout: DeviceDispatchLayout<MaskForm>): LayoutArrays {
  return forOutputs((name) => layout[name]?.toTypedArray() ?? null) as unknown as LayoutArrays;
}

/** What the `js` device computes. */
export function reference(
  topkIdx: TopkIdxInput,
  numExperts: number,
  options: DispatchLayoutOptions<'bytes' | 'bits'>,
): LayoutArrays {
  return getDispatchLayout(topkIdx, numExperts, { ...options, device: 'js' });
}
