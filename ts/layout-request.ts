/**
 * What one call for a layout of host arrays works on, read and checked. A group keeps it for its next call, so that a call
 * whose results are reused allocates nothing.
 *
 * @module
 */
import type { StreamOrder } from './device.ts';
import type { LayoutShape } from './layout.ts';
import { OutArrays } from './out-arrays.ts';
import { TopkIdx } from './topk-idx.ts';

/** One call. What it does not set is of the call before. */
export class LayoutRequest implements LayoutShape {
  readonly topkIdx: TopkIdx = new TopkIdx();
  /** The caller's arrays, or new ones. */
  readonly out: OutArrays = new OutArrays();
  /** Whether they are the caller's: untouched, then, by a call that fails. */
  isOutGiven = false;
  strict = true;
  order: StreamOrder = plainOrder;
  numTokens = 0;
  numTopk = 0;
  numExperts = 0;
  numRanks = 0;
  numRdmaRanks = 0;

  /** Lets go of all that is the caller's. */
  clear(): void {
    this.topkIdx.clear();
    this.out.clear();
    this.order = plainOrder;
  }
}

/** The order of a call without stream options. */
export const plainOrder: StreamOrder = { previous: null, asyncFinish: false, allocateOnCommStream: false };
