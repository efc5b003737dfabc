/**
 * The main function of this library.
 *
 * @module
 */
import type { DeviceDispatchLayout } from './devices/cuda/device-layout.ts';
import type { DeviceTensor } from './devices/cuda/device-tensor.ts';
import { checkOptions } from './errors/checks.ts';
import type { TopkIdxInput } from './input/read-topk-idx.ts';
import { groupOf } from './last-group.ts';
import type { DispatchLayout } from './layout/layout.ts';
import type { MaskForm } from './layout/outputs.ts';
import {
  type DeviceLayoutOptions,
  type ExpertGroupOptions,
  groupOptions,
  type LayoutOptions,
  layoutOptions,
} from './options.ts';
import { layoutTask } from './task.ts';

/** Options of {@link getDispatchLayout}: those of the group and those of the call. */
export interface DispatchLayoutOptions<Mask extends MaskForm = 'bytes'>
  extends ExpertGroupOptions,
    LayoutOptions<Mask> {}

/**
 * Computes the dispatch layout of one rank: how many tokens go to each rank, to each RDMA rank (node) and to each
 * expert, and which token goes to which rank. The semantics are those of DeepEP's `Buffer.get_dispatch_layout`. This
 * function keeps the group that it used last. If you call it for several groups in turn, keep an {@link ExpertGroup}
 * for each of them instead.
 *
 * ```ts
 * import { getDispatchLayout } from 'dispatch-layout';
 *
 * const layout = getDispatchLayout([[0, 5], [6, -1], [1, 0]], 8, { numRanks: 4 });
 * console.log(layout.numTokensPerRank.join(' ')); // 2 0 1 1
 * console.log(layout.numTokensPerExpert.join(' ')); // 2 1 0 0 0 1 1 0
 * ```
 *
 * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none. A `DeviceTensor`
 *   (of `dispatch-layout/cuda`) gives a layout of DeviceTensors.
 * @param numExperts the number of experts over all ranks.
 * @throws the errors of {@link ExpertGroup} and its `getDispatchLayout`.
 */
export function getDispatchLayout<Mask extends MaskForm = 'bytes'>(
  topkIdx: DeviceTensor,
  numExperts: number,
  options: ExpertGroupOptions & DeviceLayoutOptions<Mask>,
): DeviceDispatchLayout<Mask>;
export function getDispatchLayout<Mask extends MaskForm = 'bytes'>(
  topkIdx: TopkIdxInput,
  numExperts: number,
  options: DispatchLayoutOptions<Mask>,
): DispatchLayout<Mask>;
export function getDispatchLayout(
  topkIdx: TopkIdxInput | DeviceTensor,
  numExperts: number,
  options: ExpertGroupOptions & (LayoutOptions<MaskForm> | DeviceLayoutOptions<MaskForm>),
): DispatchLayout<MaskForm> | DeviceDispatchLayout<MaskForm> {
  // If no options are passed, the error says that `numRanks` is missing
  const given: typeof options = Object(options);
  checkOptions(given, allOptions);
  return groupOf(given).compute(layoutTask, topkIdx, numExperts, given) as DispatchLayout<MaskForm>;
}

const allOptions: Readonly<Record<keyof DispatchLayoutOptions, true>> = { ...groupOptions, ...layoutOptions };
