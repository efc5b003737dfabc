/**
 * `dispatch-layout place` with several numbers of ranks: how even they are before and after, in one table.
 *
 * @module
 */
import { makePlan, startTrial } from './compute/trial.ts';
import { fail } from './fail.ts';
import { isPlacementName } from './flags.ts';
import { ExpertGroup, loadPlacement } from './library.ts';
import type { PlaceFlags } from './place.ts';
import { print } from './print.ts';
import { checkPaths } from './read/check-paths.ts';
import { openChosenRoutingOrCounts } from './read/routing.ts';
import { summarise } from './report/place-result.ts';
import {
  formatPlaceSweepJson,
  formatPlaceSweepText,
  type PlaceSweepLine,
  type PlaceSweepResult,
} from './report/place-sweep.ts';
import { requireFiles, requireNumExperts } from './shared-flags.ts';

/** The flags of `place`, with several numbers of ranks. */
export interface PlaceSweepFlags extends Omit<PlaceFlags, 'numRanks'> {
  readonly numRanks: readonly number[];
}

/** Whether several numbers of ranks were given. */
export function isPlaceSweep(flags: PlaceFlags | PlaceSweepFlags): flags is PlaceSweepFlags {
  return Array.isArray(flags.numRanks);
}

/** @param files the files of routing or of counts, of which one can be `-` for standard input. */
export async function placeSweep(files: readonly string[], flags: PlaceSweepFlags): Promise<void> {
  const paths = requireFiles(files);
  const numExperts = requireNumExperts(flags);
  const { redundant, groups: numGroups, invalidExperts, json } = flags;
  refuse(flags);
  checkPaths(paths, flags);
  const placement = flags.placement ?? 'linear';
  if (!isPlacementName(placement)) {
    fail(
      `--placement ${placement} is for one number of ranks; pass linear or round_robin, or one number with --num-ranks`,
    );
  }
  const groups = flags.numRanks.map((numRanks) => new ExpertGroup({ numRanks, numRanksPerNode: flags.ranksPerNode }));
  const source = await openChosenRoutingOrCounts(paths, flags);
  const trial = await startTrial(source, numExperts, flags);
  const { linear, roundRobin } = await loadPlacement();
  const before = groups.map(({ numRanks }) => (placement === 'linear' ? linear : roundRobin)({ numExperts, numRanks }));
  const after = await Promise.all(
    groups.map(({ numRanks, numRdmaRanks: numNodes }) => {
      // Each rank has equally many slots
      const numPhysicalExperts = Math.ceil((numExperts + redundant) / numRanks) * numRanks;
      return makePlan(trial, source, { numPhysicalExperts, numGroups, numNodes, numRanks });
    }),
  );
  const judged = await trial.judge([
    ...before.map((plan) => ({ plan, planLayers: source.chosen.map(() => 0) })),
    ...after.map((plan) => ({ plan, planLayers: source.chosen.map((_, index) => index) })),
  ]);
  const { loads, tokens } = trial;
  const lines: PlaceSweepLine[] = [];
  let numDenseLayers = 0;
  for (const [index, { numRanks, numRanksPerNode, numRdmaRanks }] of groups.entries()) {
    const plan = after[index];
    const statistics = await summarise({
      placement: before[index],
      plan,
      loads,
      before: judged[index],
      after: judged[groups.length + index],
    });
    numDenseLayers = statistics.isLeftOut.filter((each) => each).length;
    const { numPhysicalExperts } = plan;
    lines.push({ numRanks, numRanksPerNode, numNodes: numRdmaRanks, numPhysicalExperts, ...statistics });
  }
  const result: PlaceSweepResult = {
    source,
    numExperts,
    numRedundant: redundant,
    numGroups,
    placement,
    tokens,
    invalidExperts,
    numDenseLayers,
    lines,
  };
  const colour = process.stdout.isTTY && process.stdout.hasColors();
  await print(json ? formatPlaceSweepJson(result) : formatPlaceSweepText(result, colour));
}

/** Refuses what is for one number of ranks. */
function refuse({ out, format, failAbove, sourceRank, replicaRule }: PlaceSweepFlags): void {
  const given = { '--out': out, '--format': format, '--fail-above': failAbove, '--source-rank': sourceRank };
  for (const [flag, value] of Object.entries(given)) {
    if (value !== undefined) fail(`${flag} is for one number of ranks; give one with --num-ranks`);
  }
  if (replicaRule === 'nearest') fail('--replica-rule nearest is for one number of ranks; give one with --num-ranks');
}
