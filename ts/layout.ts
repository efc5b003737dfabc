/**
 * The result of `getDispatchLayout`, and the arrays that it is written to.
 *
 * @module
 */
import type { DeviceName } from './device.ts';
import type { EventOverlap } from './event-overlap.ts';

/** The output arrays of a layout. Pass an earlier result, or arrays of your own, as `out` to have them reused. */
export interface LayoutArrays {
  /** `[numRanks]`: tokens to send to each rank. */
  readonly numTokensPerRank: Int32Array;
  /** `[numRdmaRanks]`: tokens to send to each RDMA rank (node); `null` within one node. */
  readonly numTokensPerRdmaRank: Int32Array | null;
  /** `[numExperts]`: tokens to send to each expert; an expert selected twice by one token counts twice. */
  readonly numTokensPerExpert: Int32Array;
  /** `[numTokens, numRanks]`, row-major: 1 where the token goes to the rank, else 0. */
  readonly isTokenInRank: Uint8Array;
}

/** The shape of a request: every length of {@link LayoutArrays} follows from it. */
export interface LayoutShape {
  /** Tokens of this rank. */
  readonly numTokens: number;
  /** Slots of each token. */
  readonly numTopk: number;
  /** Experts over all ranks. */
  readonly numExperts: number;
  /** Ranks of the group. */
  readonly numRanks: number;
  /** Number of nodes, `1` within one node (where `numTokensPerRdmaRank` is `null`). */
  readonly numRdmaRanks: number;
}

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
