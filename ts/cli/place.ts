/**
 * `dispatch-layout place`: makes a plan by EPLB from routing, writes it to a file if one is named, and judges it by other
 * tokens than those that it was made from.
 *
 * @module
 */
import { countExpertLoads, type TokenSplit } from './compute/expert-loads.ts';
import { judge } from './compute/judge.ts';
import { exitCodes } from './exit-codes.ts';
import { fail } from './fail.ts';
import { checkGate, type Gate } from './gate.ts';
import { ExpertGroup, loadPlacement, type PlacementPlan, type PlanFormatName } from './library.ts';
import { print } from './print.ts';
import { checkPaths } from './read/check-paths.ts';
import { layersInPlan, readChosenPlan } from './read/plan.ts';
import { type ReplicaFlags, readReplicaChoice } from './read/replica-choice.ts';
import { type ChosenRouting, openChosenRouting } from './read/routing.ts';
import { formatPlaceJson } from './report/place-json.ts';
import { type PlaceResult, summarise } from './report/place-result.ts';
import { formatPlaceText } from './report/place-text.ts';
import { type GateFlags, requireFiles, requireNumExperts, requireNumRanks, type SharedFlags } from './shared-flags.ts';
import { WholeFile } from './write/whole-file.ts';

/** The flags of `place`, parsed. */
export interface PlaceFlags extends Omit<SharedFlags, 'device'>, ReplicaFlags, GateFlags {
  readonly redundant: number;
  readonly groups: number;
  readonly window: number;
  readonly all?: true;
  readonly format: PlanFormatName;
}

/** @param files the routing files, of which one can be `-` for standard input. */
export async function place(files: readonly string[], flags: PlaceFlags): Promise<void> {
  const paths = requireFiles(files);
  const numExperts = requireNumExperts(flags);
  const numRanks = requireNumRanks(flags);
  const { redundant, groups: numGroups, window, all = false, format, out, json, failAbove = [] } = flags;
  checkPaths(paths, flags);
  const { numRanksPerNode, numRdmaRanks: numNodes } = new ExpertGroup({
    numRanks,
    numRanksPerNode: flags.ranksPerNode,
  });
  const numPhysicalExperts = numExperts + redundant;
  checkSlots(numExperts, redundant, numRanks);
  refuseGates(failAbove);

  const routing = await openChosenRouting(paths, flags);
  const before = await readChosenPlan(flags.placement, numExperts, numRanks);
  const beforeLayers = layersInPlan(before, routing);
  const replicas = readReplicaChoice(flags, routing);
  const options = { invalidExperts: flags.invalidExperts, emptyId: flags.emptyId };
  const splits = routing.chosen.map((layer) => splitOf(routing, layer, all));

  const loads = await countExpertLoads(routing, numExperts, options, splits);
  const { rebalance, writePlan } = await loadPlacement();
  const rebalanced = rebalance(
    loads.map(({ placed }) => placed),
    { numPhysicalExperts, numGroups, numNodes, numRanks },
  );
  const plan: PlacementPlan = { ...rebalanced, layerIds: routing.layers ?? rebalanced.layerIds };
  const file = out === undefined ? null : { path: out, text: writePlan(plan, format) };
  const placements = [
    { plan: before.plan, planLayers: beforeLayers },
    { plan, planLayers: routing.chosen.map((_, index) => index) },
  ];
  const [layersBefore, layersAfter] = await judge({
    routing,
    numExperts,
    options,
    splits,
    window,
    replicas,
    placements,
  });
  if (file !== null) writeText(file.path, file.text);

  const statistics = await summarise({ placement: before.plan, plan, loads, before: layersBefore, after: layersAfter });
  const gated = statistics.after.perLayer.map((each, index) => ({ ...each, layer: routing.layers?.[index] ?? null }));
  const gates = await Promise.all(failAbove.map((gate) => checkGate(gate, gated)));
  const result: PlaceResult = {
    routing,
    numExperts,
    numRanks,
    numRanksPerNode,
    numNodes,
    numGroups,
    placement: before,
    plan,
    replicas,
    splits,
    isOnAll: all,
    window,
    invalidExperts: flags.invalidExperts,
    ...statistics,
    gates,
  };
  const colour = process.stdout.isTTY && process.stdout.hasColors();
  const written = out === undefined ? '' : `\nwrote ${out}\n`;
  await print(json ? formatPlaceJson(result) : `${formatPlaceText(result, colour)}${written}`);
  if (gates.some(({ isExceeded }) => isExceeded)) process.exitCode = exitCodes.finding;
}

/** Refuses limits of what is not judged. */
function refuseGates(gates: readonly Gate[]): void {
  for (const { text, subject } of gates) {
    if (subject !== 'ranks') fail(`--fail-above ${text}: place judges ranks only; leave out '${subject}:'`);
  }
}

/** Refuses numbers of slots that do not divide among the ranks. */
function checkSlots(numExperts: number, redundant: number, numRanks: number): void {
  const numSlots = numExperts + redundant;
  if (numSlots % numRanks === 0) return;
  const missing = numRanks - (numSlots % numRanks);
  const fewer = redundant - (numSlots % numRanks);
  const choices = fewer >= 0 ? `${fewer} or ${redundant + missing}` : `${redundant + missing}`;
  fail(
    `${numExperts} experts and ${redundant} redundant ones are ${numSlots} slots, which do not divide evenly among ${numRanks} ranks; pass --redundant ${choices}`,
  );
}

/** The first half of the tokens of a layer is for placing, and the second for judging, unless all are for both. */
function splitOf({ routing, name }: ChosenRouting, layer: number, all: boolean): TokenSplit {
  const numTokens = routing.tokensOfLayer?.[layer] ?? routing.tokens;
  if (all) return { placedBefore: numTokens, judgedFrom: 0, judgedBefore: numTokens };
  const half = Math.floor(numTokens / 2);
  if (half === 0) {
    fail(`${name} has too few tokens (${numTokens}) to place on one half and judge on the other; pass --all`);
  }
  return { placedBefore: half, judgedFrom: half, judgedBefore: numTokens };
}

function writeText(path: string, text: string): void {
  const file = WholeFile.create(path);
  try {
    file.write(0, Buffer.from(text));
    file.finish();
  } finally {
    file.discard();
  }
}
