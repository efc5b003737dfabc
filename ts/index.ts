/**
 * dispatch-layout computes the dispatch layout of Mixture-of-Experts expert parallelism, which DeepEP calls
 * `get_dispatch_layout`, and the orders of rows that come after it. {@link getDispatchLayout},
 * {@link getExpertPermutation} and {@link getRankPermutation} run on several devices that give the same bits.
 * {@link ExpertGroup} has what ranks receive; {@link simulateDispatch} computes a whole group at once.
 *
 * @module
 */
export { describeDevices } from './choose-device.ts';
export type {
  DeviceDispatchLayout,
  DeviceExpertPermutation,
  DeviceExpertPermutationArrays,
  DeviceLayoutArrays,
  DeviceRankPermutation,
  DeviceRankPermutationArrays,
} from './devices/cuda/device-layout.ts';
export type {
  ChoiceCode,
  DeviceDescription,
  DeviceName,
  DeviceOption,
  DeviceVersions,
  GpuDescription,
  GpuName,
  Obstacle,
  ObstacleCode,
} from './errors/availability.ts';
export {
  DeviceUnavailableError,
  DispatchLayoutError,
  type ErrorCode,
  type ErrorDetails,
  InvalidExpertError,
} from './errors/errors.ts';
export type { AllToAll, ExchangedLayout } from './exchange.ts';
export { ExpertGroup } from './expert-group.ts';
export { type DispatchLayoutOptions, getDispatchLayout } from './get-dispatch-layout.ts';
export { type ExpertPermutationDevice, getExpertPermutation, getRankPermutation } from './get-permutations.ts';
export type { PlacementName } from './input/partition.ts';
export type { TopkIdxInput, TopkNdarray, TopkTensor } from './input/read-topk-idx.ts';
export { type EventHandle, EventOverlap } from './layout/event-overlap.ts';
export type { ExpertOrderOptions, ExpertPermutation, ExpertPermutationShape } from './layout/expert-permutation.ts';
export type { DispatchLayout } from './layout/layout.ts';
export type {
  ExpertPermutationArrays,
  LayoutArrays,
  LayoutShape,
  MaskForm,
  RankPermutationArrays,
} from './layout/outputs.ts';
export type { RankOrderOptions, RankPermutation, RankPermutationShape } from './layout/rank-permutation.ts';
export type { CallOptions, DeviceLayoutOptions, ExpertGroupOptions, LayoutOptions } from './options.ts';
export type {
  DeviceExpertPermutationOptions,
  DeviceRankPermutationOptions,
  ExpertPermutationOptions,
  RankPermutationOptions,
  WorkspaceOrders,
} from './order-options.ts';
export { expertEnds, expertOfBlock, expertOfRow, type MaxRowsShape, maxRows } from './permutation-helpers.ts';
export { type PrepareOptions, prepare } from './prepare.ts';
export { channelPrefix } from './receive/channel-prefix.ts';
export type { Arrivals, ReceiveLayout } from './receive/receive-layout.ts';
export type { ReceivedIds, ReceivedTokens } from './receive/received-tokens.ts';
export type { GatheredCounts, Sent, SentCounts } from './receive/sent.ts';
export type { ReceiveOptions } from './receive-options.ts';
export {
  type SimulatedDispatch,
  type SimulatedRank,
  type SimulationOptions,
  simulateDispatch,
} from './simulate-dispatch.ts';
export type { IdType, IntegerArray, TypedArrayOf } from './values/id-types.ts';
export { Workspace, type WorkspaceOptions } from './workspace.ts';
