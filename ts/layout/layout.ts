/**
 * The result of `getDispatchLayout`.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import { Computed } from './computed.ts';
import type { EventOverlap } from './event-overlap.ts';
import {
  type AnyLayoutArrays,
  bytesOfMaskRow,
  type LayoutArrays,
  type LayoutComputation,
  type LayoutShape,
  type MaskForm,
  type OutArrays,
  type Output,
  type ResultForm,
} from './outputs.ts';

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

const numTokensPerRank: Output = {
  name: 'numTokensPerRank',
  type: 'int32',
  kind: 'count',
  length: ({ numRanks }) => numRanks,
};

const numTokensPerRdmaRank: Output = {
  name: 'numTokensPerRdmaRank',
  type: 'int32',
  kind: 'count',
  length: ({ numRdmaRanks }) => (numRdmaRanks === 1 ? null : numRdmaRanks),
};

const numTokensPerExpert: Output = {
  name: 'numTokensPerExpert',
  type: 'int32',
  kind: 'count',
  length: ({ numExperts }) => numExperts,
};

const isTokenInRank: Output = {
  name: 'isTokenInRank',
  type: 'uint8',
  kind: 'rows',
  length({ numTokens, numRanks, computation }) {
    const { mask } = computation as LayoutComputation;
    return mask === 'none' ? null : numTokens * bytesOfMaskRow(numRanks, mask);
  },
};

/** The form of layouts. */
export const layoutForm: ResultForm = {
  kind: 'layout',
  outputs: [numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank],
  assign(target, source) {
    const arrays = source as AnyLayoutArrays;
    target.numTokensPerRank = arrays.numTokensPerRank;
    target.numTokensPerRdmaRank = arrays.numTokensPerRdmaRank;
    target.numTokensPerExpert = arrays.numTokensPerExpert;
    target.isTokenInRank = arrays.isTokenInRank;
  },
  haveSame(left, right) {
    const [a, b] = [left as AnyLayoutArrays, right as AnyLayoutArrays];
    return (
      a.numTokensPerRank === b.numTokensPerRank &&
      a.numTokensPerRdmaRank === b.numTokensPerRdmaRank &&
      a.numTokensPerExpert === b.numTokensPerExpert &&
      a.isTokenInRank === b.isTokenInRank
    );
  },
  replace(arrays, lengths, by) {
    arrays.numTokensPerRank = by(numTokensPerRank, arrays.numTokensPerRank, lengths.numTokensPerRank);
    arrays.numTokensPerRdmaRank = by(numTokensPerRdmaRank, arrays.numTokensPerRdmaRank, lengths.numTokensPerRdmaRank);
    arrays.numTokensPerExpert = by(numTokensPerExpert, arrays.numTokensPerExpert, lengths.numTokensPerExpert);
    arrays.isTokenInRank = by(isTokenInRank, arrays.isTokenInRank, lengths.isTokenInRank);
  },
  resultOf: (arrays, shape, event, device) => new ComputedLayout(arrays, shape, event, device),
};

/** The three computations of layouts. */
export const layoutComputations: Readonly<Record<MaskForm, LayoutComputation>> = {
  bytes: { kind: 'layout', form: layoutForm, mask: 'bytes' },
  bits: { kind: 'layout', form: layoutForm, mask: 'bits' },
  none: { kind: 'layout', form: layoutForm, mask: 'none' },
};
