/**
 * What a caller can say about a routing file that the file itself may not.
 *
 * @module
 */
import type { IdType } from '../values/id-types.ts';

/** Options for reading routing. */
export interface ReadOptions {
  /** Which array of a container to take, if it has several: its name. */
  readonly array?: string | undefined;
  /**
   * What the dimensions of the array are, separated by commas: `layers,tokens,topk` or `tokens,layers,topk`. `tokens` may
   * stand several times: `tokens,tokens,layers,topk` is a batch of sequences. An axis of `experts` says that an array
   * holds counts and no ids: `layers,experts` or `steps,layers,experts`.
   */
  readonly axes?: string | undefined;
  /** The number of layers, where the file is a flat row of ids. A file that says otherwise is refused. */
  readonly numLayers?: number | undefined;
  /**
   * The number of experts that each token selects, where the file is a flat row of ids. A file that says otherwise is
   * refused.
   */
  readonly numTopk?: number | undefined;
  /** The type of the ids, where the file is raw bytes that do not say it. A file that says otherwise is refused. */
  readonly idType?: IdType | undefined;
  /**
   * Whether all arrays of integers are wanted, also those that are no ids by their names, such as placements.
   *
   * @internal
   */
  readonly takesAllIntegers?: boolean | undefined;
}
