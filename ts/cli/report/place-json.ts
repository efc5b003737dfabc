/**
 * The report of `place` for programs, as `docs/command-line.md` describes it. Names may be added to it; none may be
 * renamed.
 *
 * @module
 */
import { jsonOfGates } from './gates.ts';
import { jsonOfFile } from './json-parts.ts';
import type { JudgedPlacement, PlacedLayer, PlaceResult } from './place-result.ts';

/** The report as one JSON document, on one line. */
export function formatPlaceJson(result: PlaceResult): string {
  const { routing, numExperts, numRanks, numRanksPerNode, numNodes, numGroups, placement, plan, replicas, splits } =
    result;
  const { before, after, bounds, bound, isOnAll, isLeftOut, window, invalidExperts } = result;
  const report = {
    ...jsonOfFile(routing),
    numExperts,
    numRanks,
    numRanksPerNode,
    numNodes,
    numGroups,
    numPhysicalExperts: plan.numPhysicalExperts,
    placement: placement.name,
    replicaRule: replicas.rule,
    sourceRank: replicas.sourceRank ?? null,
    invalidExperts,
    judgedOn: isOnAll ? 'all' : 'second half',
    window,
    before: overAll(before),
    plan: overAll(after),
    bound,
    ...jsonOfGates(result.gates),
    layers: plan.physicalToLogical.map((slots, index) => ({
      layer: routing.layers?.[index] ?? null,
      isDense: isLeftOut[index],
      numTokensPlaced: splits[index].placedBefore,
      numTokensJudged: splits[index].judgedBefore - splits[index].judgedFrom,
      before: plain(before.perLayer[index]),
      plan: plain(after.perLayer[index]),
      bound: bounds[index],
      physicalToLogical: Array.from(slots),
    })),
  };
  return `${JSON.stringify(report)}\n`;
}

function overAll({ layers, windows, findings }: JudgedPlacement): object {
  return { layers, windows, findings };
}

function plain({ loads, ...figures }: PlacedLayer): object {
  return { loads: Array.from(loads), ...figures };
}
