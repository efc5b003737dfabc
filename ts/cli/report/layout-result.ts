/**
 * The results of a run of the main command, which both of its reports show.
 *
 * @module
 */

import type { Finding } from '../../findings/finding.ts';
import type { RoutingLayout } from '../compute/layout.ts';
import type { Traffic } from '../compute/sent-tokens.ts';
import type { GateResult } from '../gate.ts';
import type { PlanFinding } from '../library.ts';
import type { ChosenPlacement } from '../read/placement.ts';
import type { ChosenPlan } from '../read/plan.ts';
import type { ExpertStatisticsResult } from './expert-statistics.ts';
import type { LayerStatistics } from './layout-statistics.ts';
import type { Result } from './result.ts';

/** Everything that a report shows. */
export interface LayoutResult extends Result<RoutingLayout, LayerStatistics> {
  readonly placement: ChosenPlacement | ChosenPlan;
  readonly findings: readonly Finding[];
  /** What is odd about the plan, or `null` where the placement is none. */
  readonly planFindings: readonly PlanFinding[] | null;
  /** What ranks and nodes send to each other over all layers; null where there are too many ranks for such tables. */
  readonly traffic: Traffic | null;
  /** The tokens that go from a rank to another one, and from a node to another one. */
  readonly numTokensBetweenOthers: { readonly ranks: number; readonly nodes: number };
  /** The bytes of a token, or `null` where they are not known. */
  readonly bytesPerToken: number | null;
  /** What was counted of experts, if it was asked for. */
  readonly expertStatistics: ExpertStatisticsResult | null;
  /** The limits that were given. */
  readonly gates: readonly GateResult[];
  /** The fingerprint of the ids, if it was asked for. */
  readonly idsSha256: string | null;
}
