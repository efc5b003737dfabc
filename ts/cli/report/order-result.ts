/**
 * The results of `permute`, which both of its reports show.
 *
 * @module
 */

import type { ChosenPlacement } from '../read/placement.ts';
import type { OrderOfLayers } from '../write/order-file.ts';
import type { OrderStatistics } from './order-statistics.ts';
import type { Result } from './result.ts';

/** Everything that a report shows. */
export interface OrderResult extends Result<OrderOfLayers, OrderStatistics> {
  /** Which rank each expert is on; `null` for an order by expert, to which it does not matter. */
  readonly placement: ChosenPlacement | null;
}
