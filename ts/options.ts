/**
 * The options that callers may pass, and the checks of them.
 *
 * @module
 */

import type { DeviceLayoutArrays } from './devices/cuda/device-layout.ts';
import type { DeviceOption } from './errors/availability.ts';
import { checkFlag, wrongValue } from './errors/checks.ts';
import { DispatchLayoutError } from './errors/errors.ts';
import { EventOverlap } from './layout/event-overlap.ts';
import type { StreamOrder } from './layout/layout-request.ts';
import type { LayoutArrays } from './layout/outputs.ts';

/** Options of an {@link ExpertGroup}. */
export interface ExpertGroupOptions {
  /** Number of ranks in the expert-parallel group. */
  readonly numRanks: number;
  /**
   * Number of ranks that share a node, and so form one RDMA rank. It must divide `numRanks`, or be at least `numRanks`.
   * The default is 8, the number that DeepEP is built for.
   */
  readonly numRanksPerNode?: number | undefined;
  /**
   * `[numExperts]`: the rank of each expert, in any assignment. Default: contiguous blocks of `numExperts / numRanks`
   * experts, as in DeepEP. The table is copied.
   */
  readonly placement?: ArrayLike<number> | undefined;
  /**
   * Where to compute. With the default, `auto`, ids on the GPU are computed there, and host arrays where that is
   * fastest.
   */
  readonly device?: DeviceOption | undefined;
}

/** The options that can differ from one call to the next, except for the place of the results. */
interface CallOptions {
  /**
   * What to do with an id that is neither -1 nor in `[0, numExperts)`, and with experts that do not divide evenly among
   * ranks. `throw` (default) reports the first such id, or the uneven experts, as an error. `ignore` skips such ids,
   * and leaves the last experts without a rank, as DeepEP does; but DeepEP first narrows ids to int32, and so counts
   * 2^32 + 3 as expert 3. Here ids are never truncated.
   */
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
  /** Work to wait for before the layout is computed. */
  readonly previousEvent?: EventOverlap | undefined;
  /**
   * Whether the current stream goes on without waiting; the outputs are valid after `event`. On a CPU device the work
   * is done when the call returns, and the event has finished. On `cuda`, the event reports an invalid id:
   * `event.wait()` rejects, and for host arrays `event.currentStreamWait()` throws. Default false.
   */
  readonly asyncFinish?: boolean | undefined;
  /** Whether the outputs belong to the communication stream; needs `previousEvent` and `asyncFinish`. Default false. */
  readonly allocateOnCommStream?: boolean | undefined;
}

/** The options that can differ from one call to the next. */
export interface LayoutOptions extends CallOptions {
  /**
   * Arrays to write to, such as an earlier result. If an earlier result has the shape of this one, it is returned
   * itself, so that nothing is allocated. If the call throws, the arrays are untouched. If `isTokenInRank` is longer
   * than needed, the result has a view of its first part; to use all of it again, pass the same object again. Default:
   * new arrays.
   */
  readonly out?: LayoutArrays | undefined;
}

/** Options of a call whose ids are on the GPU. */
export interface DeviceLayoutOptions extends CallOptions {
  /**
   * Tensors to write to, such as an earlier result. The kernel finds an invalid id only while it writes to them, so
   * that they are not untouched after that error. Default: new tensors.
   */
  readonly out?: DeviceLayoutArrays | undefined;
}

/**
 * Whether an invalid id is an error.
 *
 * @throws DispatchLayoutError `OPTION`
 */
export function readStrictness(invalidExperts: unknown): boolean {
  if (invalidExperts === undefined || invalidExperts === 'throw') return true;
  if (invalidExperts === 'ignore') return false;
  throw wrongValue('OPTION', 'invalidExperts', invalidExperts, "It must be 'throw' or 'ignore'.");
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
