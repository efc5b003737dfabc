/**
 * A grid of ids that lie in arrays: one array with all of them, or many that follow one another by tokens or by layers.
 *
 * @module
 */
import type { Axis, IdGrid, StoredArray } from './contents.ts';

/** An array with a part of the ids. */
export interface ArrayPart {
  readonly array: StoredArray;
  /** What each of its dimensions stands for. The last one is `topk`; `layers` stands at most once. */
  readonly axes: readonly Axis[];
  /**
   * The numbers, in the model, of the layers that it has: one for each index of its axis of layers, or one if it has no
   * such axis. Default: 0, 1, 2, ….
   */
  readonly layers?: readonly number[];
}

/**
 * Puts arrays together. The tokens of each layer are those of all parts that have the layer, in the order of the parts.
 * Layers are in ascending order of their numbers, and a layer with fewer tokens than others is filled with -1.
 *
 * @param parts one or more arrays of the same number of slots.
 * @throws {@link RoutingError} `DAMAGED` if their numbers of slots differ.
 */
export function gridOfArrays(parts: readonly ArrayPart[]): IdGrid {
  throw new Error(`not yet written: ${parts.length}`);
}
