/**
 * The base of all results that a group has computed in host arrays.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import type { EventOverlap } from './event-overlap.ts';
import type { OutArrays, OutputShape } from './outputs.ts';

/** Arrays that are known to lie in different buffers. */
export interface KnownArrays {
  readonly arrays: OutArrays;
  readonly buffers: readonly ArrayBufferLike[];
}

/** A result that a group has computed. */
export abstract class Computed {
  abstract readonly event: EventOverlap;
  abstract readonly device: DeviceName;
  #known: KnownArrays | undefined;

  /**
   * What was found out about the arrays. It is an accessor, so that it is not among the properties that callers copy.
   *
   * @internal
   */
  get known(): KnownArrays | undefined {
    return this.#known;
  }

  set known(known: KnownArrays | undefined) {
    this.#known = known;
  }

  /**
   * Whether a computation of this shape would have the same numbers beside its arrays.
   *
   * @internal
   */
  abstract hasShape(shape: OutputShape): boolean;
}
