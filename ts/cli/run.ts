/**
 * The main command: reads routing, computes its layout, writes the layout to a file if one is named, and reports it.
 *
 * @module
 */
import { isDense } from '../findings/find.ts';
import { ExpertStatistics } from './compute/expert-statistics.ts';
import { fingerprint } from './compute/fingerprint.ts';
import { computeRoutingLayout, type RoutingLayout } from './compute/layout.ts';
import { findingsOf } from './compute/observe.ts';
import { exitCodes } from './exit-codes.ts';
import { fail } from './fail.ts';
import { checkLayoutGates, refuseLayoutGates } from './layout-gates.ts';
import type { MaskForm } from './library.ts';
import { print } from './print.ts';
import { checkPaths } from './read/check-paths.ts';
import { layersInPlan, readPlacementOrPlan } from './read/plan.ts';
import { type ReplicaFlags, readReplicaChoice, refuseReplicaFlags } from './read/replica-choice.ts';
import { openChosenRouting } from './read/routing.ts';
import { reasonOfChosenDevice } from './report/device-reason.ts';
import { type ExpertStatisticsResult, summariseExperts } from './report/expert-statistics.ts';
import { formatLayoutJson } from './report/layout-json.ts';
import type { LayoutResult } from './report/layout-result.ts';
import { perLayer, total } from './report/layout-statistics.ts';
import { formatLayoutText } from './report/layout-text.ts';
import { settingsOf } from './report/page-settings.ts';
import { findInPlan } from './report/plan-findings.ts';
import { printReport } from './report/print-report.ts';
import { bytesPerToken, refuseSizeOfElement, type TokenSize } from './report/traffic.ts';
import {
  defaultWindow,
  type GateFlags,
  requireFiles,
  requireNumExperts,
  requireNumRanks,
  type SharedFlags,
} from './shared-flags.ts';
import { PageFile, writeEmptyPage } from './write/page-file.ts';

/** The flags of the main command, parsed. */
export interface RunFlags extends SharedFlags, ReplicaFlags, GateFlags, TokenSize {
  readonly mask?: MaskForm;
  readonly keepDense?: true;
  readonly fingerprint?: true;
  readonly html?: string;
  readonly statistics?: true;
  readonly window?: number;
}

/** @param files the routing files, of which one can be `-` for standard input. */
export async function run(files: readonly string[], flags: RunFlags): Promise<void> {
  const { html } = flags;
  if (files.length === 0 && html !== undefined) {
    writeEmptyPage(html);
    await print(`wrote ${html}\n`);
    return;
  }
  const page = html === undefined ? null : new PageFile(html);
  try {
    await report(files, flags, page);
  } finally {
    page?.discard();
  }
}

async function report(files: readonly string[], flags: RunFlags, page: PageFile | null): Promise<void> {
  const paths = requireFiles(files);
  const numExperts = requireNumExperts(flags);
  const numRanks = requireNumRanks(flags);
  const { device, invalidExperts, emptyId, mask, out, failAbove = [] } = flags;
  checkPaths(paths, flags);
  if (flags.window !== undefined && !flags.statistics && page === null) {
    fail('--window is for --statistics and --html; pass one of them, too');
  }
  if (mask !== undefined && out === undefined) fail('--mask is for the file of --out; pass it, too');
  refuseSizeOfElement(flags);
  refuseLayoutGates(failAbove, numRanks, flags.ranksPerNode);

  const routing = await openChosenRouting(paths, flags);
  const placement = await readPlacementOrPlan(flags.placement, numExperts, numRanks);
  if (page !== null && placement.name === 'contiguous' && numExperts % numRanks !== 0) {
    fail(
      `--html shows each expert on a rank, and ${numExperts} experts do not divide evenly among ${numRanks} ranks; ` +
        'pass --placement linear',
    );
  }
  if (!('plan' in placement)) refuseReplicaFlags(flags);
  const replicas = readReplicaChoice(flags, routing);
  const planned =
    'plan' in placement ? { plan: placement.plan, planLayers: layersInPlan(placement, routing), replicas } : null;
  const option = 'option' in placement ? placement.option : undefined;
  const window = flags.window ?? defaultWindow;
  const statistics = flags.statistics
    ? new ExpertStatistics({
        numLayers: routing.chosen.length,
        numTopk: routing.routing.topk,
        numExperts,
        emptyId,
        window,
      })
    : null;
  const layout = await computeRoutingLayout({
    routing,
    numExperts,
    groupOptions: { numRanks, numRanksPerNode: flags.ranksPerNode, placement: option, device },
    planned,
    invalidExperts,
    emptyId,
    mask: mask ?? 'bytes',
    statistics,
    out,
    collector: page?.collect(routing, numExperts, emptyId) ?? null,
  });

  const findings = await findingsOf(routing, layout.observer, numExperts);
  const counted = countedLayers(layout, flags.keepDense);
  if (page !== null) page.finish(layout, findings, await settingsOf(layout, placement, replicas, flags, counted[0]));
  const computed = onlyLayers(layout, counted);
  const ofLayers = perLayer(computed);
  const gates = await checkLayoutGates(failAbove, computed.routing, ofLayers);
  const result: LayoutResult = {
    computed,
    invalidExperts,
    placement,
    deviceReason: reasonOfChosenDevice(device),
    total: total(computed),
    perLayer: ofLayers,
    gates,
    traffic: layout.sent.traffic(counted),
    numTokensBetweenOthers: layout.sent.betweenOthers(counted),
    bytesPerToken: bytesPerToken(flags),
    expertStatistics: statistics === null ? null : expertStatisticsOf(statistics, layout, counted, window),
    findings,
    planFindings: planned === null ? null : await findInPlan(planned.plan),
    idsSha256: flags.fingerprint ? await fingerprint(routing, emptyId) : null,
  };
  await printReport(result, flags, formatLayoutText, formatLayoutJson);
  if (gates.some(({ isExceeded }) => isExceeded)) process.exitCode = exitCodes.finding;
}

/** The indices of the layers that figures are of: all but those that hold one expert only, or none, unless all do. */
function countedLayers(
  { layers, observer, numTopk }: RoutingLayout,
  keepsDense: boolean | undefined,
): readonly number[] {
  const all = layers.map((_, index) => index);
  const kept = keepsDense ? all : all.filter((index) => !isDense(observer.layers[index], numTopk));
  return kept.length === 0 ? all : kept;
}

/** Leaves out layers. */
function onlyLayers(layout: RoutingLayout, kept: readonly number[]): RoutingLayout {
  const { routing, layers } = layout;
  if (kept.length === layers.length) return layout;
  return {
    ...layout,
    layers: kept.map((index) => layers[index]),
    numLayers: kept.length,
    routing: {
      ...routing,
      chosen: kept.map((index) => routing.chosen[index]),
      layers: routing.layers === null ? null : kept.map((index) => (routing.layers as readonly number[])[index]),
    },
  };
}

function expertStatisticsOf(
  statistics: ExpertStatistics,
  { layers }: RoutingLayout,
  counted: readonly number[],
  window: number,
): ExpertStatisticsResult {
  const selections = statistics.finish();
  return summariseExperts(
    counted.map((index) => selections[index]),
    counted.map((index) => layers[index].numTokensPerExpert),
    window,
  );
}
