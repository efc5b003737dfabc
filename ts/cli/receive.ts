/**
 * `dispatch-layout receive`: reads the routing of every rank of a group, computes what each rank receives, writes that to a
 * file if one is named, and reports it.
 *
 * @module
 */
import { computeDispatch } from './compute/dispatch.ts';
import { fail } from './fail.ts';
import { print } from './print.ts';
import { checkPaths } from './read/check-paths.ts';
import { layersInPlan, readPlacementOrPlan } from './read/plan.ts';
import { defaultReplicaRule, type ReplicaFlags, refuseReplicaFlags } from './read/replica-choice.ts';
import { type ChosenRouting, openChosenRouting } from './read/routing.ts';
import { reasonOfChosenDevice } from './report/device-reason.ts';
import { formatDispatchJson } from './report/dispatch-json.ts';
import type { DispatchResult } from './report/dispatch-result.ts';
import { formatDispatchText } from './report/dispatch-text.ts';
import { findInPlan } from './report/plan-findings.ts';
import { requireFiles, requireNumExperts, type SharedFlags } from './shared-flags.ts';

/** The flags of `receive`, parsed. The number of ranks is that of the files. */
export interface ReceiveFlags extends Omit<SharedFlags, 'numRanks'>, Omit<ReplicaFlags, 'sourceRank'> {
  readonly alignment?: number;
}

/** @param files the routing files, one for each rank. */
export async function receive(files: readonly string[], flags: ReceiveFlags): Promise<void> {
  const paths = requireFiles(files);
  const numExperts = requireNumExperts(flags);
  const { device, invalidExperts, emptyId, alignment = 1, ranksPerNode, json, out } = flags;
  checkPaths(paths, flags);
  checkNodes(paths.length, ranksPerNode);

  const opened: ChosenRouting[] = [];
  for (const path of paths) opened.push(await openChosenRouting([path], flags));
  const ranks = inOrderOfRanks(opened);
  const placement = await readPlacementOrPlan(flags.placement, numExperts, ranks.length);
  if (!('plan' in placement)) refuseReplicaFlags(flags);
  const rule = flags.replicaRule ?? defaultReplicaRule;
  const planned =
    'plan' in placement ? { plan: placement.plan, planLayers: layersInPlan(placement, ranks[0]), rule } : null;
  const dispatch = await computeDispatch({
    ranks,
    numExperts,
    groupOptions: {
      numRanksPerNode: ranksPerNode,
      placement: 'option' in placement ? placement.option : undefined,
      device,
    },
    planned,
    alignment,
    invalidExperts,
    emptyId,
    out,
  });

  const planFindings = planned === null ? null : await findInPlan(planned.plan);
  const deviceReason = reasonOfChosenDevice(device);
  const result: DispatchResult = { dispatch, invalidExperts, placement, planFindings, deviceReason };
  const written = out === undefined ? '' : `\nwrote ${out}\n`;
  const colour = process.stdout.isTTY && process.stdout.hasColors();
  await print(json ? formatDispatchJson(result) : `${formatDispatchText(result, colour)}${written}`);
}

/** Refuses numbers of files that are no ranks of whole nodes. The library's message would name a flag that is not here. */
function checkNodes(numRanks: number, ranksPerNode = 8): void {
  if (numRanks <= ranksPerNode || numRanks % ranksPerNode === 0) return;
  const remedy = `pass a --ranks-per-node that divides ${numRanks}, or is at least ${numRanks}`;
  fail(`${numRanks} files are ${numRanks} ranks, which do not fill nodes of ${ranksPerNode}; ${remedy}`);
}

/** The files by the ranks that they name. If they name none, they are in the order in which they were given. */
function inOrderOfRanks(files: readonly ChosenRouting[]): readonly ChosenRouting[] {
  const named = files.filter(({ routing }) => routing.rank !== null);
  if (named.length === 0) return files;
  const sorted = [...files].sort((left, right) => (left.routing.rank ?? -1) - (right.routing.rank ?? -1));
  for (const [rank, file] of sorted.entries()) {
    if (file.routing.rank === rank) continue;
    const says = file.routing.rank === null ? 'does not say of which rank it is' : `is of rank ${file.routing.rank}`;
    fail(`${file.name} ${says}, and ${files.length} files must be of ranks 0 to ${files.length - 1}, each once`);
  }
  return sorted;
}
