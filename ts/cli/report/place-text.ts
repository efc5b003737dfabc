/**
 * The report of `place` for people. Its lines have at most 80 columns.
 *
 * @module
 */
import type { TokenUse } from '../compute/trial.ts';
import type { BalanceFigure } from '../library.ts';
import { fact, factsOfCounts, factsOfDense, factsOfFile } from './facts.ts';
import { gatesSection } from './gates.ts';
import { counted, grouped } from './numbers.ts';
import type { JudgedPlacement, PlaceResult, Spreads } from './place-result.ts';
import { planFindingsSection } from './plan-findings.ts';
import { type Heading, headingIn, layersInTable, layersNote } from './sections.ts';

const figures: readonly BalanceFigure[] = ['max/mean', 'mean/max', '(max-mean)/mean'];

/** @param colour whether the terminal is to show headings in bold. */
export function formatPlaceText(result: PlaceResult, colour: boolean): string {
  const heading = headingIn(colour);
  const { before, after, bound, tokens } = result;
  const kept = after.perLayer.filter((_, layer) => !result.isLeftOut[layer]);
  const numLayers = kept.length;
  const numWindows = kept.reduce((sum, layer) => sum + layer.numWindows, 0);
  const lines = [
    ...facts(result),
    '',
    heading('Loads of ranks', numLayers === 1 ? 'of the layer' : `over ${numLayers} layers`),
    ...spreadTable([
      ['before', before.layers],
      ['plan', after.layers],
      ['bound', bound],
    ]),
  ];
  if (tokens !== null) {
    lines.push(
      '',
      heading('Loads in windows', `over ${grouped(numWindows)} of ${counted(tokens.window, 'token')}`),
      ...spreadTable([
        ['before', before.windows],
        ['plan', after.windows],
      ]),
    );
  }
  if (numLayers > 1) lines.push('', ...layersSection(result, heading));
  lines.push(
    ...planFindingsSection('The placement before', before.findings, heading),
    ...planFindingsSection('The plan', after.findings, heading),
    ...gatesSection(result.gates, heading),
  );
  return `${lines.join('\n')}\n`;
}

function facts(result: PlaceResult): string[] {
  const { source, numExperts, numRanks, numNodes, numRanksPerNode, numGroups, plan, placement, tokens } = result;
  const numDense = result.isLeftOut.filter((each) => each).length;
  const numRedundant = plan.numPhysicalExperts - numExperts;
  const nodes = numNodes === 1 ? 'one node' : `${numNodes} nodes of ${numRanksPerNode}`;
  return [
    ...('routing' in source ? factsOfFile(source, plan.numLayers) : factsOfCounts(source)),
    ...fact('before', `${numExperts} experts, ${placement.inWords}`),
    ...fact(
      'plan',
      `EPLB, ${plan.numPhysicalExperts} slots, ${numRedundant} redundant${groupsNote(numGroups, numNodes)}`,
    ),
    ...fact('ranks', `${numRanks} in ${nodes}`),
    ...factsOfTrial(tokens),
    ...factsOfDense(numDense),
  ];
}

function groupsNote(numGroups: number, numNodes: number): string {
  if (numGroups === 1) return '';
  return numGroups % numNodes === 0
    ? `, ${numGroups} groups, each in one node`
    : `, ${numGroups} groups, which do not divide among ${numNodes} nodes: all ranks are as one node`;
}

/** The lines of what plans are made from and judged by. */
export function factsOfTrial(tokens: TokenUse | null): string[] {
  if (tokens === null) {
    return [
      ...fact('replicas', 'each gets an equal share of the counts of its expert'),
      ...fact('loads', 'placed on all counts and judged on the same, which flatters the plan; there are no windows'),
    ];
  }
  const { rule, sourceRank } = tokens.replicas;
  return [
    ...fact('replicas', sourceRank === undefined ? rule : `${rule}, from rank ${sourceRank}`),
    ...fact('tokens', describeSplit(tokens)),
  ];
}

function describeSplit({ splits, isOnAll }: TokenUse): string {
  if (isOnAll) return 'placed on all and judged on the same, which flatters the plan';
  const [least, most] = [Math.min, Math.max].map((of) => of(...splits.map(({ placedBefore }) => placedBefore)));
  const half = least === most ? grouped(most) : `${grouped(least)} to ${grouped(most)}`;
  return `placed on the first half of each layer (${half}), judged on the second half`;
}

/** A line for each figure of each placement. */
function spreadTable(rows: readonly (readonly [string, Spreads])[]): string[] {
  const row = (label: string, figure: string, cells: readonly string[]): string =>
    `  ${label.padEnd(8)}${figure.padEnd(17)}${cells.map((cell) => cell.padStart(8)).join('')}`;
  return [
    row('', '', ['p50', 'p95', 'worst']),
    ...rows.flatMap(([label, spreads]) =>
      figures.map((figure, index) => {
        const spread = spreads?.[figure];
        const cells = spread === undefined ? ['-', '-', '-'] : [spread.p50, spread.p95, spread.worst].map(twoDigits);
        return row(index === 0 ? label : '', figure, cells);
      }),
    ),
  ];
}

function twoDigits(value: number): string {
  return value.toFixed(2);
}

/** A line for each layer: `max/mean` of the whole layer, and the 95th percentile of its windows. */
function layersSection({ before, after, bounds, source, tokens }: PlaceResult, heading: Heading): string[] {
  const ratios = after.perLayer.map(({ balance }) => balance?.['max/mean'] ?? null);
  const row = (cells: readonly string[]): string => `  ${cells.map((cell) => cell.padStart(12)).join('')}`;
  const ratio = (value: number | undefined): string => (value === undefined ? '-' : twoDigits(value));
  const ofLayer = ({ perLayer }: JudgedPlacement, index: number): string =>
    ratio(perLayer[index].balance?.['max/mean']);
  const ofWindows = ({ perLayer }: JudgedPlacement, index: number): string =>
    ratio(perLayer[index].windows?.['max/mean'].p95);
  return [
    heading('Layers', layersNote(ratios, source.layers, ' by the plan')),
    ...(tokens === null ? [] : [row(['', '', '', '', 'p95 of windows'.padStart(20)])]),
    row(['layer', 'before', 'plan', 'bound', ...(tokens === null ? [] : ['before', 'plan'])]),
    ...layersInTable(ratios).map((index) =>
      row([
        String(source.layers?.[index] ?? index),
        ofLayer(before, index),
        ofLayer(after, index),
        ratio(bounds[index]?.['max/mean']),
        ...(tokens === null ? [] : [ofWindows(before, index), ofWindows(after, index)]),
      ]),
    ),
  ];
}
