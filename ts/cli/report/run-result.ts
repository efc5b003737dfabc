/**
 * The results of a run of the main command, which both reports show.
 *
 * @module
 */
import type { RoutingLayout } from '../compute.ts';
import type { InvalidExperts } from '../flags.ts';
import type { PlacementName } from '../library.ts';
import type { Routing } from '../read/routing.ts';
import type { LayerStatistics } from './statistics.ts';

/** Everything that a report shows. */
export interface RunResult {
  /** The name of the routing file, as it is shown to people. */
  readonly name: string;
  readonly routing: Routing;
  readonly layout: RoutingLayout;
  readonly invalidExperts: InvalidExperts;
  /** Which rank each expert is on, in one word. */
  readonly placement: 'contiguous' | 'table' | PlacementName;
  /** Where the placement was read from, in words; `null` where the experts are in contiguous blocks. */
  readonly placementName: string | null;
  /** Why the device was chosen. */
  readonly deviceReason: string;
  /** The statistics of all chosen layers together. */
  readonly statistics: LayerStatistics;
  /** The statistics of each chosen layer. */
  readonly perLayer: readonly LayerStatistics[];
}
