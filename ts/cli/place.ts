/**
 * `dispatch-layout place`: makes a plan by EPLB from routing, writes it to a file if one is named, and judges it by other
 * tokens than those that it was made from. Counts of experts are taken, too.
 *
 * @module
 */
import { makePlan, startTrial, type TrialFlags } from './compute/trial.ts';
import { exitCodes } from './exit-codes.ts';
import { fail } from './fail.ts';
import { checkGate, type Gate } from './gate.ts';
import { ExpertGroup, loadPlacement, type PlanFormatName } from './library.ts';
import { print } from './print.ts';
import { checkPaths } from './read/check-paths.ts';
import { layersInPlan, readChosenPlan } from './read/plan.ts';
import { openChosenRoutingOrCounts } from './read/routing.ts';
import { formatPlaceJson } from './report/place-json.ts';
import { type PlaceResult, summarise } from './report/place-result.ts';
import { formatPlaceText } from './report/place-text.ts';
import { type GateFlags, requireFiles, requireNumExperts, requireNumRanks, type SharedFlags } from './shared-flags.ts';
import { WholeFile } from './write/whole-file.ts';

/** The flags of `place`, parsed. */
export interface PlaceFlags extends Omit<SharedFlags, 'device' | 'emptyId' | 'invalidExperts'>, TrialFlags, GateFlags {
  readonly redundant: number;
  readonly groups: number;
  readonly format?: PlanFormatName;
}

/** @param files the files of routing or of counts, of which one can be `-` for standard input. */
export async function place(files: readonly string[], flags: PlaceFlags): Promise<void> {
  const paths = requireFiles(files);
  const numExperts = requireNumExperts(flags);
  const numRanks = requireNumRanks(flags);
  const { redundant, groups: numGroups, format, out, json, failAbove = [] } = flags;
  checkPaths(paths, flags);
  if (format !== undefined && out === undefined) fail('--format is for the file of --out; pass it, too');
  const { numRanksPerNode, numRdmaRanks: numNodes } = new ExpertGroup({
    numRanks,
    numRanksPerNode: flags.ranksPerNode,
  });
  const numPhysicalExperts = numExperts + redundant;
  checkSlots(numExperts, redundant, numRanks);

  const source = await openChosenRoutingOrCounts(paths, flags);
  refuseGates(failAbove, 'routing' in source);
  const before = await readChosenPlan(flags.placement, numExperts, numRanks);
  const beforeLayers = layersInPlan(before, source);
  const trial = await startTrial(source, numExperts, flags);
  const plan = await makePlan(trial, source, { numPhysicalExperts, numGroups, numNodes, numRanks });
  const { writePlan } = await loadPlacement();
  const file = out === undefined ? null : { path: out, text: writePlan(plan, format ?? 'sglang') };
  const [layersBefore, layersAfter] = await trial.judge([
    { plan: before.plan, planLayers: beforeLayers },
    { plan, planLayers: source.chosen.map((_, index) => index) },
  ]);
  if (file !== null) writeText(file.path, file.text);

  const { loads, tokens } = trial;
  const statistics = await summarise({ placement: before.plan, plan, loads, before: layersBefore, after: layersAfter });
  const gated = statistics.after.perLayer.map((each, index) => ({ ...each, layer: source.layers?.[index] ?? null }));
  const gates = await Promise.all(failAbove.map((gate) => checkGate(gate, gated)));
  const result: PlaceResult = {
    source,
    numExperts,
    numRanks,
    numRanksPerNode,
    numNodes,
    numGroups,
    placement: before,
    plan,
    tokens,
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
function refuseGates(gates: readonly Gate[], hasTokens: boolean): void {
  for (const { text, subject, of } of gates) {
    if (subject !== 'ranks') fail(`--fail-above ${text}: place judges ranks only; leave out '${subject}:'`);
    if (of === 'windows' && !hasTokens)
      fail(`--fail-above ${text}: counts have no tokens, and so no windows; leave out 'windows:'`);
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

function writeText(path: string, text: string): void {
  const file = WholeFile.create(path);
  try {
    file.write(0, Buffer.from(text));
    file.finish();
  } finally {
    file.discard();
  }
}
