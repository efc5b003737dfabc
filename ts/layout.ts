/**
 * The result of `getDispatchLayout`, and the arrays that it is written to.
 *
 * @module
 */
import type { DeviceName } from './device.ts';
import type { EventOverlap } from './event-overlap.ts';
import type { LayoutArrays, LayoutShape } from './layout/outputs.ts';

export type { LayoutArrays, LayoutShape } from './layout/outputs.ts';

/**
 * What `getDispatchLayout` returns: the outputs of DeepEP's `Buffer.get_dispatch_layout`, with the shape of the request.
 * Source of the semantics: the docstring of that function (`deep_ep/buffer.py`).
 */
export interface DispatchLayout extends LayoutArrays, LayoutShape {
  /** The done-event; recorded only with `asyncFinish`. */
  readonly event: EventOverlap;
  /** The device that computed this layout. */
  readonly device: DeviceName;
}

/** A layout that a group has computed. */
export class ComputedLayout implements DispatchLayout {
  readonly numTokensPerRank: Int32Array;
  readonly numTokensPerRdmaRank: Int32Array | null;
  readonly numTokensPerExpert: Int32Array;
  readonly isTokenInRank: Uint8Array;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly numRdmaRanks: number;
  readonly event: EventOverlap;
  readonly device: DeviceName;

  constructor(arrays: LayoutArrays, shape: LayoutShape, event: EventOverlap, device: DeviceName) {
    this.numTokensPerRank = arrays.numTokensPerRank;
    this.numTokensPerRdmaRank = arrays.numTokensPerRdmaRank;
    this.numTokensPerExpert = arrays.numTokensPerExpert;
    this.isTokenInRank = arrays.isTokenInRank;
    this.numTokens = shape.numTokens;
    this.numTopk = shape.numTopk;
    this.numExperts = shape.numExperts;
    this.numRanks = shape.numRanks;
    this.numRdmaRanks = shape.numRdmaRanks;
    this.event = event;
    this.device = device;
  }
}

/** Whether this would be the result of a call: then it can be. */
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
    out.numTokensPerRank === arrays.numTokensPerRank &&
    out.numTokensPerRdmaRank === arrays.numTokensPerRdmaRank &&
    out.numTokensPerExpert === arrays.numTokensPerExpert &&
    out.isTokenInRank === arrays.isTokenInRank
  );
}
