/**
 * What the reports of every computation show.
 *
 * @module
 */
import type { ComputedLayers } from '../compute/computed-layers.ts';
import type { InvalidExperts } from '../flags.ts';

/** The result of a command that computes from a routing file. */
export interface Result<Computed extends ComputedLayers, Statistics> {
  readonly computed: Computed;
  readonly invalidExperts: InvalidExperts;
  /** Why the device was chosen. */
  readonly deviceReason: string;
  /** The statistics of all chosen layers together. */
  readonly total: Statistics;
  /** The statistics of each chosen layer. */
  readonly perLayer: readonly Statistics[];
}
