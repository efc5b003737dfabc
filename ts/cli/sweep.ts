/**
 * The main command with several numbers of ranks: how even they are, and what they cost to send to, in one table.
 *
 * @module
 */
import type { Traffic } from './compute/sent-tokens.ts';
import { computeSweep, type SweptRanks } from './compute/sweep.ts';
import { fail } from './fail.ts';
import { isPlacementName } from './flags.ts';
import { type BalanceFigure, loadPlacement, type PlacementName, type Spread } from './library.ts';
import { print } from './print.ts';
import { checkPaths } from './read/check-paths.ts';
import { type ChosenRouting, openChosenRouting } from './read/routing.ts';
import { sum } from './report/counts.ts';
import { fact, factsOfDense, factsOfFile } from './report/facts.ts';
import { jsonOfFile } from './report/json-parts.ts';
import { grouped } from './report/numbers.ts';
import { headingIn } from './report/sections.ts';
import { bytesPerToken, defaultBytesPerElement, jsonOfTraffic, refuseSizeOfElement } from './report/traffic.ts';
import type { RunFlags } from './run.ts';
import { requireFiles, requireNumExperts } from './shared-flags.ts';

/** The flags of the main command, with several numbers of ranks. */
export interface SweepFlags extends Omit<RunFlags, 'numRanks'> {
  readonly numRanks: readonly number[];
}

/** Whether several numbers of ranks were given. */
export function isSweep(flags: RunFlags | SweepFlags): flags is SweepFlags {
  return Array.isArray(flags.numRanks);
}

/** One line of the table. */
interface SweepLine {
  readonly numRanks: number;
  readonly numNodes: number;
  /** Where the figures of the layers lie; null where nothing is sent. */
  readonly layers: Readonly<Record<BalanceFigure, Spread>> | null;
  readonly meanRanksPerToken: number | null;
  readonly meanNodesPerToken: number | null;
  /** The tokens that go from a node to another one, over all layers. */
  readonly numTokensBetweenNodes: number;
  /** Their bytes, or `null` where the hidden size is not known. */
  readonly bytesBetweenNodes: number | null;
  /** What ranks and nodes send to each other. */
  readonly traffic: Traffic | null;
}

/** @param files the routing files, of which one can be `-` for standard input. */
export async function sweep(files: readonly string[], flags: SweepFlags): Promise<void> {
  const paths = requireFiles(files);
  const numExperts = requireNumExperts(flags);
  const { numRanks, ranksPerNode, device, invalidExperts, emptyId, keepDense = false, json } = flags;
  const { hiddenSize = null, bytesPerElement = defaultBytesPerElement } = flags;
  const bytes = bytesPerToken(flags);
  refuse(flags);
  refuseSizeOfElement(flags);
  checkPaths(paths, flags);
  const placement = placementName(flags.placement);
  const routing = await openChosenRouting(paths, flags);
  const options = { invalidExperts, emptyId };
  const swept = await computeSweep({
    routing,
    numExperts,
    options,
    numRanks,
    numRanksPerNode: ranksPerNode,
    placement,
    device,
  });
  const all = routing.chosen.map((_, index) => index);
  const kept = keepDense ? all : all.filter((index) => !swept.isDense[index]);
  const counted = kept.length === 0 ? all : kept;
  const lines: SweepLine[] = [];
  for (const ranks of swept.ranks) lines.push(await summarise(ranks, counted, routing, bytes));
  const numDense = all.length - counted.length;
  const head = { numExperts, placement, hiddenSize, bytesPerElement, numDenseLayers: numDense, sweep: lines };
  await print(json ? formatJson(routing, head, bytes) : formatText(routing, head));
}

/** Refuses what is for one number of ranks. */
function refuse(flags: SweepFlags): void {
  const { out, mask, failAbove, fingerprint, replicaRule, sourceRank, statistics, window, html } = flags;
  const given = {
    '--out': out,
    '--mask': mask,
    '--fail-above': failAbove,
    '--fingerprint': fingerprint,
    '--replica-rule': replicaRule,
    '--source-rank': sourceRank,
    '--statistics': statistics,
    '--window': window,
    '--html': html,
  };
  for (const [flag, value] of Object.entries(given)) {
    if (value !== undefined) fail(`${flag} is for one number of ranks; give one with --num-ranks`);
  }
}

function placementName(flag = 'linear'): PlacementName {
  if (isPlacementName(flag)) return flag;
  return fail(
    `--placement ${flag} is for one number of ranks; pass linear or round_robin, or one number with --num-ranks`,
  );
}

async function summarise(
  { numRanks, numNodes, layers, sent }: SweptRanks,
  counted: readonly number[],
  { routing }: ChosenRouting,
  bytes: number | null,
): Promise<SweepLine> {
  const { balanceOf, spreadOf } = await loadPlacement();
  const numTokens = routing.tokens * counted.length;
  const sumOf = (name: 'ofRanks' | 'ofNodes'): number =>
    counted.reduce((all, index) => all + sum(layers[index][name]), 0);
  const betweenNodes = sent.betweenOthers(counted).nodes;
  return {
    numRanks,
    numNodes,
    layers: spreadOf(counted.map((index) => balanceOf(layers[index].ofRanks))),
    meanRanksPerToken: numTokens === 0 ? null : sumOf('ofRanks') / numTokens,
    meanNodesPerToken: numTokens === 0 || numNodes === 1 ? null : sumOf('ofNodes') / numTokens,
    numTokensBetweenNodes: betweenNodes,
    bytesBetweenNodes: bytes === null ? null : betweenNodes * bytes,
    traffic: sent.traffic(counted),
  };
}

interface Head {
  readonly numExperts: number;
  readonly placement: PlacementName;
  readonly numDenseLayers: number;
  readonly sweep: readonly SweepLine[];
}

/** The report for programs. */
function formatJson(routing: ChosenRouting, head: Head, bytes: number | null): string {
  const lines = head.sweep.map((line) => ({ ...line, traffic: jsonOfTraffic(line.traffic, bytes) }));
  return `${JSON.stringify({ ...jsonOfFile(routing), ...head, sweep: lines })}\n`;
}

/** The report for people, in at most 80 columns. */
function formatText(routing: ChosenRouting, { numExperts, placement, numDenseLayers, sweep: lines }: Head): string {
  const heading = headingIn(process.stdout.isTTY && process.stdout.hasColors());
  const row = (cells: readonly string[]): string =>
    `  ${cells.map((cell, index) => cell.padStart(widths[index])).join('')}`;
  const widths = [5, 7, 8, 8, 8, 13, 13, 16];
  const ratio = (value: number | null | undefined): string => (value == null ? '-' : value.toFixed(2));
  const hasBytes = lines.some(({ bytesBetweenNodes }) => bytesBetweenNodes !== null);
  const text = [
    ...factsOfFile(routing, routing.chosen.length),
    ...fact('experts', `${numExperts}, placed ${placement}`),
    ...factsOfDense(numDenseLayers),
    '',
    heading('Numbers of ranks', 'max/mean of tokens per rank, over the layers'),
    row([
      'ranks',
      'nodes',
      'p50',
      'p95',
      'worst',
      'ranks/token',
      'nodes/token',
      hasBytes ? 'MB between' : 'tokens between',
    ]),
    row(['', '', '', '', '', '', '', 'nodes']),
    ...lines.map((line) => {
      const spread = line.layers?.['max/mean'];
      const between =
        line.bytesBetweenNodes === null ? grouped(line.numTokensBetweenNodes) : grouped(line.bytesBetweenNodes / 1e6);
      const spreads = [spread?.p50, spread?.p95, spread?.worst].map(ratio);
      const fanOut = [line.meanRanksPerToken, line.meanNodesPerToken].map(ratio);
      return row([String(line.numRanks), String(line.numNodes), ...spreads, ...fanOut, between]);
    }),
  ];
  return `${text.join('\n')}\n`;
}
