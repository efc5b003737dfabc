/**
 * The reports of `place` with several numbers of ranks: a table for people, whose lines have at most 80 columns, and JSON as
 * `docs/command-line.md` describes it.
 *
 * @module
 */
import type { TokenUse } from '../compute/trial.ts';
import type { InvalidExperts } from '../flags.ts';
import type { PlacementName } from '../library.ts';
import type { ChosenCounts, ChosenRouting } from '../read/routing.ts';
import { fact, factsOfCounts, factsOfDense, factsOfFile } from './facts.ts';
import { counted } from './numbers.ts';
import { jsonOfSource, judgedOn } from './place-json.ts';
import type { PlaceStatistics, Spreads } from './place-result.ts';
import { factsOfTrial } from './place-text.ts';
import { headingIn } from './sections.ts';

/** One number of ranks. */
export interface PlaceSweepLine extends PlaceStatistics {
  readonly numRanks: number;
  readonly numRanksPerNode: number;
  readonly numNodes: number;
  /** The slots of the plan. */
  readonly numPhysicalExperts: number;
}

/** What the reports show. */
export interface PlaceSweepResult {
  readonly source: ChosenRouting | ChosenCounts;
  readonly numExperts: number;
  /** How many slots there are at least beside one for each expert. */
  readonly numRedundant: number;
  readonly numGroups: number;
  /** The placement before. */
  readonly placement: PlacementName;
  /** How tokens were used, or null where there are counts only. */
  readonly tokens: TokenUse | null;
  readonly invalidExperts: InvalidExperts;
  readonly numDenseLayers: number;
  readonly lines: readonly PlaceSweepLine[];
}

/** @param colour whether the terminal is to show headings in bold. */
export function formatPlaceSweepText(result: PlaceSweepResult, colour: boolean): string {
  const { source, numExperts, numRedundant, placement, tokens, numDenseLayers, lines } = result;
  const heading = headingIn(colour);
  const text = [
    ...('routing' in source ? factsOfFile(source, source.chosen.length) : factsOfCounts(source)),
    ...fact('before', `${numExperts} experts, placed ${placement}`),
    ...fact('plans', `EPLB, ${numExperts + numRedundant} slots, or as many more as divide evenly among the ranks`),
    ...factsOfTrial(tokens),
    ...factsOfDense(numDenseLayers),
    '',
    heading('Loads of ranks', 'max/mean over the layers'),
    ...table(lines, ({ before, after, bound }) => [before.layers, after.layers, bound]),
  ];
  if (tokens !== null) {
    text.push(
      '',
      heading('Loads in windows', `max/mean over windows of ${counted(tokens.window, 'token')}`),
      ...table(lines, ({ before, after }) => [before.windows, after.windows, null]),
    );
  }
  return `${text.join('\n')}\n`;
}

/** A line for each number of ranks. */
function table(
  lines: readonly PlaceSweepLine[],
  spreadsOf: (line: PlaceSweepLine) => readonly [Spreads, Spreads, Spreads],
): string[] {
  const widths = [7, 7, 7, 10, 7, 7, 10, 7, 7, 9];
  const row = (cells: readonly string[]): string =>
    cells
      .map((cell, index) => cell.padStart(widths[index]))
      .join('')
      .trimEnd();
  const ratio = (value: number | undefined): string => value?.toFixed(2) ?? '-';
  const hasBound = lines.some((line) => spreadsOf(line)[2] !== null);
  return [
    row(['', '', '', 'before', '', '', 'plan']),
    row(['ranks', 'nodes', 'slots', 'p50', 'p95', 'worst', 'p50', 'p95', 'worst', hasBound ? 'bound' : '']),
    ...lines.map((line) => {
      const [before, plan, bound] = spreadsOf(line).map((spreads) => spreads?.['max/mean']);
      const figures = [before, plan].flatMap((spread) => [spread?.p50, spread?.p95, spread?.worst].map(ratio));
      const shape = [line.numRanks, line.numNodes, line.numPhysicalExperts].map(String);
      return row([...shape, ...figures, hasBound ? ratio(bound?.worst) : '']);
    }),
  ];
}

/** The report for programs, as one JSON document on one line. */
export function formatPlaceSweepJson(result: PlaceSweepResult): string {
  const { source, numExperts, numRedundant, numGroups, placement, tokens, invalidExperts, lines } = result;
  const report = {
    ...jsonOfSource(source),
    numExperts,
    numRedundant,
    numGroups,
    placement,
    replicaRule: tokens?.replicas.rule ?? null,
    invalidExperts,
    judgedOn: judgedOn(tokens),
    window: tokens?.window ?? null,
    numDenseLayers: result.numDenseLayers,
    sweep: lines.map(({ numRanks, numRanksPerNode, numNodes, numPhysicalExperts, before, after, bound }) => ({
      numRanks,
      numRanksPerNode,
      numNodes,
      numPhysicalExperts,
      before: { layers: before.layers, windows: before.windows },
      plan: { layers: after.layers, windows: after.windows },
      bound,
    })),
  };
  return `${JSON.stringify(report)}\n`;
}
