/**
 * Observes routing in a pass of its own, and finds what is wrong or odd in it.
 *
 * @module
 */

import { findEqualLayers } from '../../findings/equal-layers.ts';
import { findAll } from '../../findings/find.ts';
import type { Finding } from '../../findings/finding.ts';
import { Observer } from '../../findings/observer.ts';
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
  return { observer, findings: await findingsOf(routing, observer, numExperts) };
}

/** The findings in what an observer has seen of the chosen layers. */
export async function findingsOf(routing: ChosenRouting, observer: Observer, numExperts: number): Promise<Finding[]> {
  const equalLayers = await findEqualLayers(routing.routing, routing.chosen, observer.layers);
  return findAll({ routing: routing.routing, layers: routing.layers, observer, numExperts, equalLayers });
}
