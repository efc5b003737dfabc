/**
 * The form of this library's option `placement`: the rank of each expert, for one layer or for each.
 *
 * @module
 */
import { describe } from '../../values/describe.ts';
import { checkRanks, createPlan, type PlacementPlan, rankOfSlot, wrongPlan } from '../plan.ts';
import { depthOf, numbersAt, rowsAt } from './arrays.ts';
import { checkLayersInOrder, formatJson, type PlanFormat, ranksOf } from './format.ts';

/**
 * The rank of each expert of a layer, for the option `placement`: a plan without replicas needs no mapping of ids.
 *
 * ```ts
 * import { rankOfExpert, roundRobin } from 'dispatch-layout/placement';
 *
 * console.log(rankOfExpert(roundRobin({ numExperts: 5, numRanks: 2 }), 0).join(' ')); // 0 1 0 1 0
 * ```
 *
 * @param layer the index of the layer in the plan.
 * @returns `[numExperts]`, with -1 for an expert that is on no rank.
 * @throws DispatchLayoutError `PLACEMENT` if an expert has several replicas.
 */
export function rankOfExpert(plan: PlacementPlan, layer: number): Int32Array {
  return Int32Array.from(plan.logicalToPhysical[layer], (slots, expert) => {
    if (slots.length < 2) return slots.length === 0 ? -1 : rankOfSlot(slots[0], plan);
    const ranks = Array.from(slots, (slot) => rankOfSlot(slot, plan)).join(', ');
    throw wrongPlan(
      `layer ${plan.layerIds[layer]}: expert ${expert} is on the ranks ${ranks}, and a table of ranks has one for each expert`,
      expert,
      'Map the ids by mapToPhysical, or write a form that has replicas.',
    );
  });
}

export const ranks: PlanFormat = {
  matches: (content) => depthOf(content) > 0,

  read(content, options) {
    const numRanks = ranksOf(options);
    checkRanks(numRanks);
    const tables = depthOf(content) === 1 ? [numbersAt('the table', content)] : rowsAt('the table', content);
    const numExperts = options.numExperts ?? tables[0]?.length ?? 0;
    const expertsOfRanks = tables.map((table, layer) => groupByRank(table, layer, numExperts, numRanks));
    // A rank with fewer experts than another has empty slots
    const slotsPerRank = Math.max(0, ...expertsOfRanks.flatMap((lists) => lists.map((experts) => experts.length)));
    const rows = expertsOfRanks.map((lists) =>
      lists.flatMap((experts) => [...experts, ...new Array<number>(slotsPerRank - experts.length).fill(-1)]),
    );
    return createPlan(rows, { numRanks, numExperts });
  },

  write(plan) {
    checkLayersInOrder(plan, 'a table of ranks');
    const tables = plan.logicalToPhysical.map((_, layer) => [...rankOfExpert(plan, layer)]);
    return formatJson(tables.length === 1 ? tables[0] : tables);
  },
};

function groupByRank(table: ArrayLike<number>, layer: number, numExperts: number, numRanks: number): number[][] {
  if (table.length !== numExperts) {
    const problem = `the table of layer ${layer} has the ranks of ${table.length} experts, not of ${numExperts}`;
    throw wrongPlan(problem, table.length, 'It needs one rank for each expert.');
  }
  const lists = Array.from({ length: numRanks }, (): number[] => []);
  for (let expert = 0; expert < numExperts; expert++) {
    const rank = table[expert];
    if (!Number.isInteger(rank) || rank < -1 || rank >= numRanks) {
      const problem = `layer ${layer}: the rank of expert ${expert} is ${describe(rank)}, not in [0, ${numRanks})`;
      throw wrongPlan(problem, rank, 'The table has the rank of each expert, or -1 for an expert on none.');
    }
    if (rank >= 0) lists[rank].push(expert);
  }
  return lists;
}
