/**
 * The report of `place` for programs, as `docs/command-line.md` describes it. Names may be added to it; none may be
 * renamed.
 *
 * @module
 */
import type { TokenSplit } from '../compute/expert-loads.ts';
import type { TokenUse } from '../compute/trial.ts';
import type { ChosenCounts, ChosenRouting } from '../read/routing.ts';
import { jsonOfGates } from './gates.ts';
import { jsonOfCounts, jsonOfFile } from './json-parts.ts';
import type { JudgedPlacement, PlacedLayer, PlaceResult } from './place-result.ts';

/** The report as one JSON document, on one line. */
export function formatPlaceJson(result: PlaceResult): string {
  const { source, numExperts, numRanks, numRanksPerNode, numNodes, numGroups, placement, plan, tokens } = result;
  const { before, after, bounds, bound, coverages, isLeftOut, invalidExperts } = result;
  const report = {
    ...jsonOfSource(source),
    numExperts,
    numRanks,
    numRanksPerNode,
    numNodes,
    numGroups,
    numPhysicalExperts: plan.numPhysicalExperts,
    placement: placement.name,
    replicaRule: tokens?.replicas.rule ?? null,
    sourceRank: tokens?.replicas.sourceRank ?? null,
    invalidExperts,
    judgedOn: judgedOn(tokens),
    window: tokens?.window ?? null,
    before: overAll(before),
    plan: overAll(after),
    bound,
    ...jsonOfGates(result.gates),
    layers: plan.physicalToLogical.map((slots, index) => ({
      layer: source.layers?.[index] ?? null,
      isDense: isLeftOut[index],
      ...numTokensOf(tokens?.splits[index]),
      before: plain(before.perLayer[index]),
      plan: plain(after.perLayer[index]),
      bound: bounds[index],
      coverage: coverages[index],
      physicalToLogical: Array.from(slots),
    })),
  };
  return `${JSON.stringify(report)}\n`;
}

/** What was read. */
export function jsonOfSource(source: ChosenRouting | ChosenCounts): object {
  return 'routing' in source ? jsonOfFile(source) : jsonOfCounts(source);
}

/** What plans are judged on. */
export function judgedOn(tokens: TokenUse | null): string {
  if (tokens === null) return 'counts';
  return tokens.isOnAll ? 'all' : 'second half';
}

function numTokensOf(split: TokenSplit | undefined): object {
  return {
    numTokensPlaced: split === undefined ? null : split.placedBefore,
    numTokensJudged: split === undefined ? null : split.judgedBefore - split.judgedFrom,
  };
}

function overAll({ layers, windows, findings }: JudgedPlacement): object {
  return { layers, windows, findings };
}

function plain({ loads, ...figures }: PlacedLayer): object {
  return { loads: Array.from(loads), ...figures };
}
