/**
 * The results of `permute`, which both of its reports show.
 *
 * @module
 */
import type { PlanFinding } from '../library.ts';
import type { ChosenPlacement } from '../read/placement.ts';
import type { ChosenPlan } from '../read/plan.ts';
import type { OrderOfLayers } from '../write/order-file.ts';
import type { OrderStatistics } from './order-statistics.ts';
import type { Result } from './result.ts';

/** Everything that a report shows. */
export interface OrderResult extends Result<OrderOfLayers, OrderStatistics> {
  /** Which rank each expert is on; `null` for an order by expert, to which it does not matter. */
  readonly placement: ChosenPlacement | ChosenPlan | null;
  /** What is odd about the plan, or `null` where the placement is none. */
  readonly planFindings: readonly PlanFinding[] | null;
}
