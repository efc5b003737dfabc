/**
 * The options that callers may pass, and the checks of them.
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

/** Options of an {@link ExpertGroup}. */
export interface ExpertGroupOptions {
  /** The number of ranks in the expert-parallel group. */
  readonly numRanks: number;
  /**
   * The number of ranks that share a node, and so form one RDMA rank. It must divide `numRanks`, or be at least
   * `numRanks`. The default is 8, the number that DeepEP is built for.
   */
  readonly numRanksPerNode?: number | undefined;
  /**
   * Which rank each expert is on: a table or a name. A table, `[numExperts]`, has the rank of each expert, or -1 for an
   * expert that is on no rank; its selections are counted per expert, but go nowhere. The table is copied. The names
   * are those of vLLM: `linear` places contiguous blocks, and gives each of the first `numExperts % numRanks` ranks one
   * expert more; `round_robin` places expert e on rank `e % numRanks`. Default: contiguous blocks of
   * `numExperts / numRanks` experts, as in DeepEP; it is then an error if the experts do not divide evenly.
   */
  readonly placement?: PlacementName | ArrayLike<number> | undefined;
  /**
   * Where to compute. With the default, `auto`, ids on the GPU are computed there, and host arrays where that is
   * fastest.
   */
  readonly device?: DeviceOption | undefined;
}

/** The options of every call, except for the place of the results. */
export interface CallOptions {
  /**
   * What to do with an id that is neither in `[0, numExperts)` nor empty (-1 or `emptyId`), and with experts that do
   * not divide evenly among the ranks. `throw` (default) reports the first such id, or the uneven experts, as an error.
   * `ignore` skips such ids, and leaves the last experts without a rank, as DeepEP does. One difference remains: DeepEP
   * first narrows ids to int32, and so counts 2^32 + 3 as expert 3. Here, ids are never truncated.
   */
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
  /**
   * An id that stands for an empty slot, beside -1: a safe integer or a bigint, such as `numExperts`, or 255 in routing
   * that was recorded as uint8. If the type of the ids cannot hold it, it matches no id. If it is the id of an expert,
   * that expert gets no tokens.
   */
  readonly emptyId?: number | bigint | undefined;
  /** Work to wait for before the layout is computed. */
  readonly previousEvent?: EventOverlap | undefined;
  /**
   * Whether the current stream goes on without waiting; the outputs are valid after `event`. On a CPU device the work
   * is done when the call returns, and the event has finished. On `cuda`, the event reports an invalid id:
   * `event.wait()` rejects, and for host arrays `event.currentStreamWait()` throws. Default false.
   */
  readonly asyncFinish?: boolean | undefined;
  /**
   * Whether the outputs belong to the communication stream. It needs `previousEvent` and `asyncFinish`. Default false.
   */
  readonly allocateOnCommStream?: boolean | undefined;
}

/** The option of layouts alone. */
interface MaskOption<Mask extends MaskForm> {
  /**
   * The form of `isTokenInRank`. `bytes` (default) has a byte for each token and rank. `bits` has a bit, and so takes an
   * eighth of the memory. `none` is for callers who want only the counts: `isTokenInRank` is then null, and nothing is
   * allocated or copied for it.
   */
  readonly mask?: Mask | undefined;
}

/** The options that can differ from one call to the next. */
export interface LayoutOptions<Mask extends MaskForm = 'bytes'> extends CallOptions, MaskOption<Mask> {
  /**
   * Arrays to write to, such as an earlier result. If an earlier result has the shape of this one, it is returned
   * itself, so that nothing is allocated. If the call throws, the arrays are untouched. If `isTokenInRank` is longer
   * than needed, the result has a view of its first part; to use all of it again, pass the same object again. Default:
   * new arrays.
   */
  readonly out?: LayoutArrays<Mask> | undefined;
}

/** Options of a call whose ids are on the GPU. */
export interface DeviceLayoutOptions<Mask extends MaskForm = 'bytes'> extends CallOptions, MaskOption<Mask> {
  /**
   * Tensors to write to, such as an earlier result. The kernel finds an invalid id only while it writes to them, so
   * they have changed when that error is thrown. Default: new tensors.
   */
  readonly out?: DeviceLayoutArrays<Mask> | undefined;
}

export const groupOptions: Readonly<Record<keyof ExpertGroupOptions, true>> = {
  numRanks: true,
  numRanksPerNode: true,
  placement: true,
  device: true,
};

export const callOptions: Readonly<Record<keyof CallOptions | 'out', true>> = {
  invalidExperts: true,
  emptyId: true,
  out: true,
  previousEvent: true,
  asyncFinish: true,
  allocateOnCommStream: true,
};

export const layoutOptions: Readonly<Record<keyof LayoutOptions, true>> = { ...callOptions, mask: true };

/**
 * The form of `isTokenInRank`.
 *
 * @throws DispatchLayoutError `OPTION`
 */
export function readMask(mask: unknown = 'bytes'): MaskForm {
  if (mask === 'bytes' || mask === 'bits' || mask === 'none') return mask;
  throw wrongValue('OPTION', 'mask', mask, "It must be 'bytes', 'bits' or 'none'.");
}

/**
 * Reads the stream options into `order`. The checks are those that DeepEP's host code asserts.
 *
 * @throws DispatchLayoutError `OPTION`, `EVENT_FLAGS`
 */
export function readOrder({ previousEvent, asyncFinish, allocateOnCommStream }: CallOptions, order: StreamOrder): void {
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
