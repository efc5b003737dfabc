/**
 * What callers may say in options, and its checks.
 *
 * @module
 */

import type { DeviceLayoutArrays } from './devices/cuda/device-layout.ts';
import type { DeviceOption } from './errors/availability.ts';
import { checkFlag, wrongValue } from './errors/checks.ts';
import { DispatchLayoutError } from './errors/errors.ts';
import type { PlacementName } from './input/partition.ts';
import { EventOverlap } from './layout/event-overlap.ts';
import type { StreamOrder } from './layout/layout-request.ts';
import type { LayoutArrays, MaskForm } from './layout/outputs.ts';

/** What an {@link ExpertGroup} is made of. */
export interface ExpertGroupOptions {
  /** Number of ranks in the expert-parallel group. */
  readonly numRanks: number;
  /**
   * Number of ranks that share a node, and so one RDMA rank. It must divide `numRanks`, or be at least `numRanks`. Default 8,
   * which DeepEP is built for.
   */
  readonly numRanksPerNode?: number | undefined;
  /**
   * Which expert is on which rank. A table, `[numExperts]`, has the rank of each expert, or -1 for an expert that is on no
   * rank: its selections are counted per expert, and go nowhere. The table is copied. The names are those of vLLM:
   * `linear` gives the first `numExperts % numRanks` ranks one expert more than the others, in contiguous blocks;
   * `round_robin` has expert e on rank `e % numRanks`. Default: contiguous blocks of `numExperts / numRanks` experts, as in
   * DeepEP; experts that do not divide evenly are an error then.
   */
  readonly placement?: PlacementName | ArrayLike<number> | undefined;
  /** Where to compute. The default `auto` computes ids on the GPU there, and host arrays where that is fastest. */
  readonly device?: DeviceOption | undefined;
}

/** What can differ from one call to the next, besides where the results go. */
interface CallOptions<Mask extends MaskForm> {
  /**
   * Whether to make `isTokenInRank`: `bytes` (default), or `none` for callers who want the counts alone. It is null then, and
   * nothing is allocated or copied for it.
   */
  readonly mask?: Mask | undefined;
  /**
   * What to do with an id that is neither -1 nor in `[0, numExperts)`, and with experts that do not divide evenly
   * among ranks. `throw` (default) reports the first; `ignore` skips them, as DeepEP does.
   */
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
  /**
   * An id that stands for an empty slot, beside -1: a safe integer or a bigint, such as `numExperts`, or 255 in captures of
   * uint8. One that the type of the ids cannot hold matches none. If it is an expert, that expert gets no tokens.
   */
  readonly emptyId?: number | bigint | undefined;
  /** Work to wait for before the layout is computed. */
  readonly previousEvent?: EventOverlap | undefined;
  /**
   * Whether the current stream goes on without waiting; the outputs are valid after `event`. On a CPU device the work is
   * done when the call returns, and the event is finished. On `cuda`, ids that are no experts are reported by the event:
   * `event.wait()` rejects, `event.currentStreamWait()` throws. Default false.
   */
  readonly asyncFinish?: boolean | undefined;
  /** Whether the outputs belong to the communication stream; needs `previousEvent` and `asyncFinish`. Default false. */
  readonly allocateOnCommStream?: boolean | undefined;
}

/** What can differ from one call to the next. */
export interface LayoutOptions<Mask extends MaskForm = 'bytes'> extends CallOptions<Mask> {
  /**
   * Arrays to write to, such as an earlier result. An earlier result of the same shape is returned itself, so that nothing is
   * allocated. If the call throws, the arrays are untouched. Where `isTokenInRank` is longer than needed, the result has a
   * view of its first part: to use all of it again, pass the same object again. Default: new arrays.
   */
  readonly out?: LayoutArrays<Mask> | undefined;
}

/** Options of a call whose ids are on the GPU. */
export interface DeviceLayoutOptions<Mask extends MaskForm = 'bytes'> extends CallOptions<Mask> {
  /** Tensors to write to, such as an earlier result. Default: new tensors. */
  readonly out?: DeviceLayoutArrays<Mask> | undefined;
}

export const groupOptions: ReadonlySet<keyof ExpertGroupOptions> = new Set([
  'numRanks',
  'numRanksPerNode',
  'placement',
  'device',
]);

export const callOptions: ReadonlySet<keyof LayoutOptions> = new Set([
  'invalidExperts',
  'emptyId',
  'mask',
  'out',
  'previousEvent',
  'asyncFinish',
  'allocateOnCommStream',
]);

/**
 * Whether ids that are no experts are errors.
 *
 * @throws DispatchLayoutError `OPTION`
 */
export function readStrictness(invalidExperts: unknown): boolean {
  if (invalidExperts === undefined || invalidExperts === 'throw') return true;
  if (invalidExperts === 'ignore') return false;
  throw wrongValue('OPTION', 'invalidExperts', invalidExperts, "It must be 'throw' or 'ignore'.");
}

/**
 * Whether `isTokenInRank` is wanted.
 *
 * @throws DispatchLayoutError `OPTION`
 */
export function readMask(mask: unknown): boolean {
  if (mask === undefined || mask === 'bytes') return true;
  if (mask === 'none') return false;
  throw wrongValue('OPTION', 'mask', mask, "It must be 'bytes' or 'none'.");
}

/**
 * Reads the stream options into `order`. The checks are DeepEP's host-side assertions on them.
 *
 * @throws DispatchLayoutError `OPTION`, `EVENT_FLAGS`
 */
export function readOrder(
  { previousEvent, asyncFinish, allocateOnCommStream }: CallOptions<MaskForm>,
  order: StreamOrder,
): void {
  order.previous = null;
  order.asyncFinish = false;
  order.allocateOnCommStream = false;
  if (previousEvent === undefined && asyncFinish === undefined && allocateOnCommStream === undefined) return;
  checkFlag('asyncFinish', asyncFinish);
  checkFlag('allocateOnCommStream', allocateOnCommStream);
  if (previousEvent !== undefined && !(previousEvent instanceof EventOverlap)) {
    const remedy = 'Pass the event of an earlier layout, or one from group.capture().';
    throw wrongValue('EVENT_FLAGS', 'previousEvent', previousEvent, remedy);
  }
  if (allocateOnCommStream && !(previousEvent?.recorded && asyncFinish)) {
    const missing = [
      previousEvent?.recorded ? [] : 'a recorded previousEvent',
      asyncFinish ? [] : 'asyncFinish',
    ].flat();
    throw new DispatchLayoutError('EVENT_FLAGS', `allocateOnCommStream was given without ${missing.join(' and ')}`, {
      value: allocateOnCommStream,
      remedy: 'Outputs of the communication stream need both previousEvent (recorded) and asyncFinish: true.',
    });
  }
  order.previous = previousEvent?.handle ?? null;
  order.asyncFinish = asyncFinish === true;
  order.allocateOnCommStream = allocateOnCommStream === true;
}
