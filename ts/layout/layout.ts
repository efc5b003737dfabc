/**
 * The result of `getDispatchLayout`.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import type { EventOverlap } from './event-overlap.ts';
import { assignArrays, haveSameArrays, type LayoutArrays, type LayoutShape, OutArrays } from './outputs.ts';

/**
 * What `getDispatchLayout` returns: the outputs of DeepEP's `Buffer.get_dispatch_layout`, with the shape of the request.
 * The semantics are those of the docstring of that function (`deep_ep/buffers/legacy.py` of DeepEP dd758ca).
 */
export interface DispatchLayout extends LayoutArrays, LayoutShape {
  /** The done-event; recorded only with `asyncFinish`. */
  readonly event: EventOverlap;
  /** The device that computed this layout. */
  readonly device: DeviceName;
}

/** A layout that a group has computed. */
export class ComputedLayout extends OutArrays implements DispatchLayout {
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly numRdmaRanks: number;
  readonly event: EventOverlap;
  readonly device: DeviceName;
  /** Of arrays that this had when they were found to lie in different buffers: the arrays, and their buffers. */
  #known: { readonly arrays: OutArrays; readonly buffers: readonly ArrayBufferLike[] } | undefined;

  constructor(arrays: LayoutArrays, shape: LayoutShape, event: EventOverlap, device: DeviceName) {
    super();
    assignArrays(this, arrays);
    this.numTokens = shape.numTokens;
    this.numTopk = shape.numTopk;
    this.numExperts = shape.numExperts;
    this.numRanks = shape.numRanks;
    this.numRdmaRanks = shape.numRdmaRanks;
    this.event = event;
    this.device = device;
  }

  /** The buffers under these arrays, if they are known to be different ones. */
  knownBuffers(arrays: LayoutArrays): readonly ArrayBufferLike[] | undefined {
    const known = this.#known;
    return known !== undefined && haveSameArrays(known.arrays, arrays) ? known.buffers : undefined;
  }

  /** Keeps the buffers under its arrays, which are different ones. */
  keepBuffers(buffers: readonly ArrayBufferLike[]): void {
    const arrays = new OutArrays();
    assignArrays(arrays, this);
    this.#known = { arrays, buffers };
  }
}

/** Whether `out` would be the result of a call: then it can be. */
export function isResult(
  out: LayoutArrays | undefined,
  arrays: LayoutArrays,
  shape: LayoutShape,
  event: EventOverlap,
  device: DeviceName,
): out is ComputedLayout {
  return (
    out instanceof ComputedLayout &&
    out.numTokens === shape.numTokens &&
    out.numTopk === shape.numTopk &&
    out.numExperts === shape.numExperts &&
    out.numRanks === shape.numRanks &&
    out.numRdmaRanks === shape.numRdmaRanks &&
    out.event === event &&
    out.device === device &&
    haveSameArrays(out, arrays)
  );
}
