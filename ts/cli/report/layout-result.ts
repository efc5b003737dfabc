/**
 * The results of a run of the main command, which both of its reports show.
 *
 * @module
 */
import type { RoutingLayout } from '../compute/layout.ts';
import type { Finding } from '../findings/finding.ts';
import type { ChosenPlacement } from '../read/placement.ts';
import type { LayerStatistics } from './layout-statistics.ts';
import type { Result } from './result.ts';

/** Everything that a report shows. */
export interface LayoutResult extends Result<RoutingLayout, LayerStatistics> {
  readonly placement: ChosenPlacement;
  readonly findings: readonly Finding[];
  /** The fingerprint of the ids, if it was asked for. */
  readonly idsSha256: string | null;
}
