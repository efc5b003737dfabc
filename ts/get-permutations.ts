/**
 * The two functions that say in which order the rows of what follows a layout are.
 *
 * @module
 */
import type { DeviceExpertPermutation, DeviceRankPermutation } from './devices/cuda/device-layout.ts';
import type { DeviceTensor } from './devices/cuda/device-tensor.ts';
import type { DeviceOption } from './errors/availability.ts';
import { checkOptions } from './errors/checks.ts';
import type { TopkIdxInput } from './input/read-topk-idx.ts';
import { groupOf, groupOfExperts } from './last-group.ts';
import type { ExpertPermutation } from './layout/expert-permutation.ts';
import type { RankPermutation } from './layout/rank-permutation.ts';
import { type ExpertGroupOptions, groupOptions } from './options.ts';
import {
  type DeviceExpertPermutationOptions,
  type DeviceRankPermutationOptions,
  type ExpertPermutationOptions,
  expertPermutationOptions,
  type RankPermutationOptions,
  rankPermutationOptions,
} from './order-options.ts';
import { expertTask, rankTask } from './order-tasks.ts';

/** The option of {@link getExpertPermutation} that belongs to a group in its method. */
export interface ExpertPermutationDevice {
  /** Where to compute, as in `getDispatchLayout`. */
  readonly device?: DeviceOption | undefined;
}

/**
 * Orders selections by expert, as a grouped GEMM reads its rows: this rank's own selections, or those of the tokens that
 * it has received. The order is (expert, token, slot), the same on every device. See
 * {@link ExpertGroup} and its `getExpertPermutation`.
 *
 * ```ts
 * import { getExpertPermutation } from 'dispatch-layout';
 *
 * const order = getExpertPermutation([[0, 5], [6, -1], [5, 0]], 8);
 * console.log(order.expertOffsets.join(' ')); // 0 2 2 2 2 2 4 5 5
 * console.log(order.selectionOfRow.join(' ')); // 0 5 1 4 2 -1
 * console.log(order.rowOfSelection.join(' ')); // 0 2 4 -1 3 1
 * ```
 *
 * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none. A `DeviceTensor`
 *   (of `dispatch-layout/cuda`) gives an order in DeviceTensors.
 * @param numExperts the number of experts that ids may name.
 * @throws the errors of {@link ExpertGroup} and its `getExpertPermutation`, and {@link DeviceUnavailableError} if
 *   `device` names one that cannot be used here.
 */
export function getExpertPermutation(
  topkIdx: DeviceTensor,
  numExperts: number,
  options?: DeviceExpertPermutationOptions & ExpertPermutationDevice,
): DeviceExpertPermutation;
export function getExpertPermutation(
  topkIdx: TopkIdxInput,
  numExperts: number,
  options?: ExpertPermutationOptions & ExpertPermutationDevice,
): ExpertPermutation;
export function getExpertPermutation(
  topkIdx: TopkIdxInput | DeviceTensor,
  numExperts: number,
  options: (ExpertPermutationOptions | DeviceExpertPermutationOptions) & ExpertPermutationDevice = {},
): ExpertPermutation | DeviceExpertPermutation {
  checkOptions(options, allExpertOptions);
  const { device } = options;
  return groupOfExperts(device).compute(expertTask, topkIdx, numExperts, options) as ExpertPermutation;
}

const allExpertOptions: Readonly<Record<keyof ExpertPermutationOptions | 'device', true>> = {
  ...expertPermutationOptions,
  device: true,
};

/**
 * Orders tokens by rank, as this rank sends them: (rank, token), a token once for each rank that it goes to. See
 * {@link ExpertGroup} and its `getRankPermutation`.
 *
 * ```ts
 * import { getRankPermutation } from 'dispatch-layout';
 *
 * const order = getRankPermutation([[0, 5], [6, -1], [1, 0]], 8, { numRanks: 4 });
 * console.log(order.rankOffsets.join(' ')); // 0 2 2 3 4
 * console.log(order.tokenOfRow.join(' ')); // 0 2 0 1 -1 -1
 * ```
 *
 * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none. A `DeviceTensor`
 *   (of `dispatch-layout/cuda`) gives an order in DeviceTensors.
 * @param numExperts the number of experts over all ranks.
 * @throws the errors of {@link ExpertGroup} and its `getRankPermutation`.
 */
export function getRankPermutation(
  topkIdx: DeviceTensor,
  numExperts: number,
  options: ExpertGroupOptions & DeviceRankPermutationOptions,
): DeviceRankPermutation;
export function getRankPermutation(
  topkIdx: TopkIdxInput,
  numExperts: number,
  options: ExpertGroupOptions & RankPermutationOptions,
): RankPermutation;
export function getRankPermutation(
  topkIdx: TopkIdxInput | DeviceTensor,
  numExperts: number,
  options: ExpertGroupOptions & (RankPermutationOptions | DeviceRankPermutationOptions),
): RankPermutation | DeviceRankPermutation {
  // If no options are passed, the error says that `numRanks` is missing
  const given: typeof options = Object(options);
  checkOptions(given, allRankOptions);
  return groupOf(given, true).compute(rankTask, topkIdx, numExperts, given) as RankPermutation;
}

const allRankOptions: Readonly<Record<keyof (ExpertGroupOptions & RankPermutationOptions), true>> = {
  ...groupOptions,
  ...rankPermutationOptions,
};
