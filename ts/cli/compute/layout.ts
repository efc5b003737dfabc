/**
 * Computes the layouts of all chosen layers.
 *
 * @module
 */
import { failOnLibraryError } from '../fail.ts';
import type { InvalidExperts } from '../flags.ts';
import {
  ExpertGroup,
  type ExpertGroupOptions,
  type LayoutArrays,
  layoutComputations,
  type MaskForm,
} from '../library.ts';
import type { Routing } from '../read/routing.ts';
import { type ComputedLayers, computeLayers, smallerRemedy } from './compute-layers.ts';

/** What is to be computed, and how. */
export interface LayoutJob {
  readonly routing: Routing;
  readonly numExperts: number;
  readonly groupOptions: ExpertGroupOptions;
  readonly invalidExperts: InvalidExperts;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId: number | bigint | undefined;
  readonly mask: MaskForm;
  /** Whether `isTokenInRank` of all layers is kept. */
  readonly keepRows: boolean;
}

/** The layouts of all chosen layers. */
export interface RoutingLayout extends ComputedLayers<LayoutArrays<MaskForm>> {
  readonly numRanksPerNode: number;
}

/** Computes the layout of every layer of the routing. */
export function computeRoutingLayout(job: LayoutJob): RoutingLayout {
  const { routing, numExperts, groupOptions, keepRows, ...options } = job;
  try {
    const group = new ExpertGroup(groupOptions);
    const { numRanks, numRanksPerNode, numRdmaRanks } = group;
    const { numTokens, numTopk } = routing;
    const computation = layoutComputations[options.mask];
    const computed = computeLayers<LayoutArrays<MaskForm>>({
      routing,
      group,
      shape: { numTokens, numTopk, numExperts, numRanks, numRdmaRanks, computation },
      keepRows,
      remedy: smallerRemedy(routing),
      computeLayer: (view, out) => group.getDispatchLayout(view, numExperts, { ...options, out }),
    });
    return { ...computed, numRanksPerNode };
  } catch (error) {
    return failOnLibraryError(routing.name, numExperts, error);
  }
}
