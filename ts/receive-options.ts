/**
 * The options of the functions that say what ranks receive.
 *
 * @module
 */
import { readStrictness } from './errors/checks.ts';
import { checkAlignment } from './layout/expert-permutation.ts';
import type { CallOptions } from './options.ts';

/** Options of `getReceiveLayout` and `exchange`. */
export interface ReceiveOptions extends Pick<CallOptions, 'invalidExperts'> {
  /**
   * The rows of each expert are padded behind to a multiple of this, as in `getExpertPermutation`. An expert without
   * selections has no rows. Default 1.
   */
  readonly alignment?: number | undefined;
}

export const receiveOptions: Readonly<Record<keyof ReceiveOptions, true>> = { alignment: true, invalidExperts: true };

/**
 * Reads the alignment, and whether it is an error if experts do not divide evenly among the ranks.
 *
 * @throws DispatchLayoutError `OPTION`
 */
export function readReceiveOptions({ alignment = 1, invalidExperts }: ReceiveOptions): {
  readonly alignment: number;
  readonly isStrict: boolean;
} {
  checkAlignment(alignment);
  return { alignment, isStrict: readStrictness(invalidExperts) };
}
