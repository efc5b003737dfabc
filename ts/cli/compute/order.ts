/**
 * Computes an order of rows for all chosen layers.
 *
 * @module
 */
import { failOnLibraryError } from '../fail.ts';
import type { InvalidExperts } from '../flags.ts';
import {
  ExpertGroup,
  type ExpertGroupOptions,
  type ExpertOrder,
  type ExpertPermutationArrays,
  type RankOrder,
  type RankPermutationArrays,
} from '../library.ts';
import type { Routing } from '../read/routing.ts';
import { type ComputedLayers, computeLayers, smallerRemedy } from './compute-layers.ts';

/** What is to be computed, and how. */
export interface OrderJob {
  readonly routing: Routing;
  readonly numExperts: number;
  readonly order: ExpertOrder | RankOrder;
  readonly groupOptions: ExpertGroupOptions;
  readonly invalidExperts: InvalidExperts;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId: number | bigint | undefined;
  /** Whether the arrays of rows and selections of all layers are kept. */
  readonly keepRows: boolean;
}

/** The orders of all chosen layers. */
export interface RoutingOrder extends ComputedLayers<unknown> {
  readonly computation: ExpertOrder | RankOrder;
  /** For each layer, the rows of each local expert or of each rank, without padding. */
  readonly counts: readonly Int32Array[];
  /** For each layer, the number of rows, padding included. */
  readonly numRows: readonly number[];
}

/** Computes the order of every layer of the routing. */
export function computeRoutingOrder(job: OrderJob): RoutingOrder {
  const { routing, numExperts, order, groupOptions, keepRows, invalidExperts, emptyId } = job;
  const options = { invalidExperts, emptyId };
  try {
    const group = new ExpertGroup(groupOptions);
    const { numRanks, numRdmaRanks } = group;
    const { numTokens, numTopk } = routing;
    const request = {
      routing,
      group,
      shape: { numTokens, numTopk, numExperts, numRanks, numRdmaRanks, computation: order },
      keepRows,
      remedy: remedyFor(routing, order),
    };
    if (order.kind === 'byExpert') {
      const { firstExpert, numLocalExperts, alignment } = order;
      const ofOrder = { firstExpert, numLocalExperts, alignment };
      const computed = computeLayers<ExpertPermutationArrays>({
        ...request,
        computeLayer: (view, out) => group.getExpertPermutation(view, numExperts, { ...options, ...ofOrder, out }),
      });
      const { layers } = computed;
      return {
        ...computed,
        computation: order,
        counts: layers.map((layer) => layer.numTokensPerExpert),
        numRows: layers.map((layer) => layer.expertOffsets[order.numLocalExperts]),
      };
    }
    const { winner } = order;
    const computed = computeLayers<RankPermutationArrays>({
      ...request,
      computeLayer: (view, out) => group.getRankPermutation(view, numExperts, { ...options, winner, out }),
    });
    const { layers } = computed;
    return {
      ...computed,
      computation: order,
      counts: layers.map((layer) => layer.numTokensPerRank),
      numRows: layers.map((layer) => layer.rankOffsets[numRanks]),
    };
  } catch (error) {
    return failOnLibraryError(routing.name, numExperts, error);
  }
}

function remedyFor(routing: Routing, order: ExpertOrder | RankOrder): string {
  const isPadded = order.kind === 'byExpert' && order.alignment > 1;
  return isPadded ? `${smallerRemedy(routing)}, or lower --alignment` : smallerRemedy(routing);
}
