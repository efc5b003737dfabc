/**
 * The result of `getDispatchLayout`.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import type { MaskForm } from './computation.ts';
import { Computed } from './computed.ts';
import type { EventOverlap } from './event-overlap.ts';
import type { LayoutArrays, LayoutShape, OutArrays } from './outputs.ts';

/**
 * What `getDispatchLayout` returns: the outputs of DeepEP's `Buffer.get_dispatch_layout`, and the shape of the request.
 * The semantics are those of that function's docstring (`deep_ep/buffers/legacy.py` of DeepEP, commit dd758ca).
 */
export interface DispatchLayout<Mask extends MaskForm = 'bytes'> extends LayoutArrays<Mask>, LayoutShape {
  /** The done-event, which is recorded only with `asyncFinish`. */
  readonly event: EventOverlap;
  /** The device that computed this layout. */
  readonly device: DeviceName;
}

/** A layout that a group has computed. */
export class ComputedLayout extends Computed implements DispatchLayout<MaskForm> {
  readonly numTokensPerRank: Int32Array;
  readonly numTokensPerRdmaRank: Int32Array | null;
  readonly numTokensPerExpert: Int32Array;
  readonly isTokenInRank: Uint8Array | null;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly numRdmaRanks: number;
  readonly event: EventOverlap;
  readonly device: DeviceName;

  constructor(arrays: OutArrays, shape: LayoutShape, event: EventOverlap, device: DeviceName) {
    super();
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

  hasShape(shape: LayoutShape): boolean {
    return (
      this.numTokens === shape.numTokens &&
      this.numTopk === shape.numTopk &&
      this.numExperts === shape.numExperts &&
      this.numRanks === shape.numRanks &&
      this.numRdmaRanks === shape.numRdmaRanks
    );
  }
}
