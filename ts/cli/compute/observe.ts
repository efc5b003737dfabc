/**
 * Observes routing in a pass of its own, and finds what is wrong or odd in it.
 *
 * @module
 */

import { findEqualLayers } from '../../findings/equal-layers.ts';
import { findAll } from '../../findings/find.ts';
import type { Finding } from '../../findings/finding.ts';
import { largestExpert, numExpertsIn } from '../../findings/number-of-experts.ts';
import { type LayerObservation, Observer } from '../../findings/observer.ts';
import { limits } from '../flags.ts';
import { ExpertGroup } from '../library.ts';
import type { ChosenRouting } from '../read/routing.ts';
import { addTo } from './computed-layers.ts';
import { createWorkspace, runPass } from './pass.ts';

/** What was observed. */
export interface Observation {
  readonly observer: Observer;
  readonly findings: readonly Finding[];
}

/**
 * Observes all chosen layers.
 *
 * @param emptyId the id that stands for an empty slot, beside -1.
 */
export async function observe(
  routing: ChosenRouting,
  numExperts: number,
  emptyId: number | bigint | undefined,
): Promise<Observation> {
  const observer = await observeLayers(routing, numExperts, emptyId);
  return { observer, findings: await findingsOf(routing, observer, numExperts) };
}

/** Counts of more experts are not kept for each layer, where the number of experts is unknown. */
const mostUnknownExperts = 4000;
/** Nor are more counts than these, of all layers together. */
const mostUnknownCounts = 2 ** 22;

/**
 * Observes all chosen layers, of which nobody says how many experts there are: one more than the largest id.
 *
 * @param emptyId the id that stands for an empty slot, beside -1.
 */
export async function observeUnknown(
  routing: ChosenRouting,
  emptyId: number | bigint | undefined,
): Promise<Observation & { readonly numExperts: number }> {
  const largest = largestExpert(routing.routing.idType, limits.experts);
  const perLayer = Math.floor(mostUnknownCounts / Math.max(1, routing.chosen.length));
  const numCounted = Math.min(largest + 1, mostUnknownExperts, perLayer);
  const observer = await observeLayers(routing, numCounted, emptyId);
  // Whether a layer has, or may have, ids of experts that were not counted
  const isBeyond = ({ invalid, numInvalid }: LayerObservation): boolean => {
    const numKnown = [...invalid.values()].reduce((sum, count) => sum + count, 0);
    return numKnown < numInvalid || [...invalid.keys()].some((id) => id >= numCounted && id <= largest);
  };
  if (observer.layers.some(isBeyond)) {
    const numExperts = await numExpertsIn(routing.routing, routing.chosen, limits.experts);
    return { numExperts, ...(await observe(routing, numExperts, emptyId)) };
  }
  const numExperts = observer.layers.reduce(
    (most, { counts }) =>
      counts.reduce((number, count, expert) => (count > 0 ? Math.max(number, expert + 1) : number), most),
    1,
  );
  return { numExperts, observer, findings: await findingsOf(routing, observer, numExperts) };
}

async function observeLayers(
  routing: ChosenRouting,
  numExperts: number,
  emptyId: number | bigint | undefined,
): Promise<Observer> {
  const { idType, topk: numTopk } = routing.routing;
  const counts = routing.chosen.map(() => new Float64Array(numExperts));
  const observer = new Observer({ idType, numTopk, numExperts, emptyId }, counts);
  const workspace = createWorkspace({
    routing,
    group: new ExpertGroup({ numRanks: 1 }),
    numExperts,
    options: { invalidExperts: 'ignore', emptyId, mask: 'none' },
    orders: {},
  });
  await runPass({
    routing,
    workspace,
    numExperts,
    compute: (numTokens) => workspace.run(numTokens),
    receive: ({ numTokensPerExpert }, { layer, numTokens }) => {
      addTo(counts[layer], numTokensPerExpert);
      observer.observe(layer, workspace.topkIdx, numTokens, numTokensPerExpert);
    },
  });
  return observer;
}

/** The findings in what an observer has seen of the chosen layers. */
export async function findingsOf(routing: ChosenRouting, observer: Observer, numExperts: number): Promise<Finding[]> {
  const equalLayers = await findEqualLayers(routing.routing, routing.chosen, observer.layers);
  return findAll({ routing: routing.routing, layers: routing.layers, observer, numExperts, equalLayers });
}
