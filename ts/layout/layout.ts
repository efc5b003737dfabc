/**
 * The result of `getDispatchLayout`.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import type { EventOverlap } from './event-overlap.ts';
import {
  type AnyArrays,
  assignArrays,
  haveSameArrays,
  type LayoutArrays,
  type LayoutShape,
  type MaskForm,
  OutArrays,
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

/** Arrays that are known to lie in different buffers. */
export interface KnownArrays {
  readonly arrays: AnyArrays;
  readonly buffers: readonly ArrayBufferLike[];
}

/** A layout that a group has computed. */
export class ComputedLayout extends OutArrays implements DispatchLayout<MaskForm> {
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly numRdmaRanks: number;
  readonly event: EventOverlap;
  readonly device: DeviceName;
  #known: KnownArrays | undefined;

  constructor(arrays: AnyArrays, shape: LayoutShape, event: EventOverlap, device: DeviceName) {
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

  /**
   * What was found out about the arrays. It is an accessor, so that it is not among the properties that callers copy.
   */
  get known(): KnownArrays | undefined {
    return this.#known;
  }

  set known(known: KnownArrays | undefined) {
    this.#known = known;
  }
}

/** Whether `out` equals the result that the call would make. The call then returns `out` itself. */
export function isResult(
  out: AnyArrays | undefined,
  arrays: AnyArrays,
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
