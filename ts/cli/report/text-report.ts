/**
 * The report for people. Its lines have at most 80 columns.
 *
 * @module
 */
import { styleText } from 'node:util';
import type { Timing } from '../compute.ts';
import { drawCounts } from './bars.ts';
import { abbreviated, duration, grouped, timesMean } from './numbers.ts';
import type { RunResult } from './run-result.ts';
import { type Counts, hottest, hottestFirst, type LayerStatistics, sum } from './statistics.ts';
import { wrap } from './wrap.ts';

/** How many of the hottest, and how many of the coldest, experts are named. */
const numNamedExperts = 5;
/** The most rows of the table of layers. If there are more layers, the least even ones are shown. */
const maxLayerRows = 32;

/** @param colour whether the terminal is to show headings in bold. */
export function formatReport(result: RunResult, colour: boolean): string {
  const heading = (title: string, note: string): string => {
    const styled = colour ? styleText('bold', title, { validateStream: false }) : title;
    return note === '' ? styled : `${styled}${' '.repeat(Math.max(2, 26 - title.length))}${note}`;
  };
  const together = result.perLayer.length > 1 ? 'all layers together, ' : '';
  const { statistics } = result;
  const lines = [
    ...facts(result),
    '',
    heading('Tokens per rank', `${together}${imbalanceNote(statistics.numTokensPerRank, statistics.rankImbalance)}`),
    ...drawCounts(statistics.numTokensPerRank, 'rank'),
    '',
    ...nodeSection(result, heading, together),
    heading(
      'Tokens per expert',
      `${together}${imbalanceNote(statistics.numTokensPerExpert, statistics.expertImbalance)}`,
    ),
    ...expertTable(statistics.numTokensPerExpert),
    '',
    heading('Fan-out', ''),
    ...fanOut(result),
  ];
  if (result.perLayer.length > 1) lines.push('', heading('Layers', layersNote(result)), ...layerTable(result));
  return `${lines.join('\n')}\n`;
}

function facts(result: RunResult): string[] {
  const { layout, routing, statistics } = result;
  const slots = layout.numTokens * layout.numTopk * layout.numLayers;
  const empty = statistics.numEmptySlots;
  const emptyNote = empty === 0 ? 'none empty' : `${grouped(empty)} empty (${((100 * empty) / slots).toFixed(2)} %)`;
  const nodes = layout.numRdmaRanks === 1 ? 'one node' : `${layout.numRdmaRanks} nodes of ${layout.numRanksPerNode}`;
  const lines = [
    fact('file', result.name),
    fact('topk_idx', `${routing.dtype} ${describeShape(result)}`),
    fact('slots', `${grouped(slots)}, ${emptyNote}`),
    fact('experts', `${layout.numExperts}, ${result.placementName ?? 'in equal blocks, rank by rank'}`),
    fact('ranks', `${layout.numRanks} in ${nodes}`),
    fact('device', `${layout.device}: ${result.deviceReason}`),
    fact('compute', describeSpeed(layout.numTokens * layout.numLayers, layout.timing)),
    fact('', describeTiming(layout.timing, layout.numLayers)),
  ];
  if ((routing.numLayersInFile ?? 0) > layout.numTokens) {
    const remedy = routing.tokensFirst
      ? 'if FILE is [layers, tokens, topk], leave out --axes tokens,layers,topk'
      : 'if FILE is [tokens, layers, topk], pass --axes tokens,layers,topk';
    lines.push(fact('note', `more layers than tokens; ${remedy}`));
  }
  return lines.flat();
}

/** A labelled line, continued on the lines below where the text is too long for one. */
function fact(label: string, text: string): string[] {
  return wrap(label.padEnd(10), text.split(' '));
}

function describeShape({ routing, layout }: RunResult): string {
  const matrix = `${grouped(routing.numTokens)} tokens, top-${routing.numTopk}`;
  if (routing.layers === null) return `[${matrix}]`;
  if (layout.numLayers === routing.numLayersInFile) return `[${layout.numLayers} layers, ${matrix}]`;
  return `[${matrix}], layer ${routing.layers[0]} of ${routing.numLayersInFile}`;
}

function describeSpeed(numTokens: number, { seconds }: Timing): string {
  const speed = numTokens === 0 || seconds === 0 ? '' : `, ${abbreviated(numTokens / seconds)} tokens/s`;
  return `${duration(seconds)} for ${grouped(numTokens)} tokens${speed}`;
}

function describeTiming({ numPasses, warm }: Timing, numLayers: number): string {
  const what = numLayers > 1 ? `${numLayers} layers` : 'the layout';
  const how = warm ? `median of ${numPasses} warm passes over` : 'one cold pass over';
  return `${how} ${what}, without reading the file`;
}

function nodeSection(result: RunResult, heading: (title: string, note: string) => string, together: string): string[] {
  const { numTokensPerRdmaRank, rdmaRankImbalance } = result.statistics;
  if (numTokensPerRdmaRank === null) return [];
  return [
    heading('Tokens per RDMA rank', `${together}${imbalanceNote(numTokensPerRdmaRank, rdmaRankImbalance)}`),
    ...drawCounts(numTokensPerRdmaRank, 'node'),
    '',
  ];
}

function expertTable(counts: Counts): string[] {
  const mean = sum(counts) / counts.length;
  if (mean === 0) return ['  no expert was selected'];
  const order = hottestFirst(counts);
  const numRows = Math.min(numNamedExperts, counts.length);
  const named = (expert: number): string => {
    const count = grouped(counts[expert]).padStart(grouped(counts[order[0]]).length);
    return `expert ${String(expert).padStart(String(counts.length - 1).length)}  ${count} ${timesMean(counts[expert] / mean).padStart(7)}`;
  };
  const columns = named(order[0]).length + 4;
  const unused = order.filter((expert) => counts[expert] === 0).length;
  return [
    `  ${'hottest'.padEnd(columns)}coldest`,
    ...Array.from({ length: numRows }, (_, row) => {
      return `  ${named(order[row]).padEnd(columns)}${named(order[order.length - 1 - row])}`;
    }),
    ...(unused === 0 ? [] : [`  ${unused} of ${counts.length} experts got no token`]),
  ];
}

function fanOut({ layout, statistics }: RunResult): string[] {
  const { meanRanksPerToken, meanNodesPerToken } = statistics;
  if (meanRanksPerToken === null) return ['  no tokens'];
  const mostRanks = Math.min(layout.numTopk, layout.numRanks);
  const mostNodes = Math.min(layout.numTopk, layout.numRdmaRanks);
  return [
    `  a token goes to ${meanRanksPerToken.toFixed(2)} ranks on average, of at most ${mostRanks}`,
    ...(meanNodesPerToken === null ? [] : [`  and to ${meanNodesPerToken.toFixed(2)} nodes, of at most ${mostNodes}`]),
  ];
}

function layersNote({ perLayer, routing }: RunResult): string {
  const worst = hottest(perLayer.map((layer) => layer.rankImbalance ?? 0));
  const worstNote = `${timesMean(perLayer[worst].rankImbalance ?? 0)} by rank in layer ${routing.layers?.[worst]}`;
  return perLayer.length > maxLayerRows
    ? `the ${maxLayerRows} least even of ${perLayer.length}, up to ${worstNote}`
    : `max/mean in each, up to ${worstNote}`;
}

function layerTable({ perLayer, routing }: RunResult): string[] {
  const hasNodes = perLayer[0].numTokensPerRdmaRank !== null;
  const order = perLayer.map((_, index) => index);
  const shown =
    perLayer.length > maxLayerRows
      ? order
          .sort(
            (left, right) => (perLayer[right].rankImbalance ?? 0) - (perLayer[left].rankImbalance ?? 0) || left - right,
          )
          .slice(0, maxLayerRows)
      : order;
  const row = (cells: readonly string[]): string =>
    `  ${cells[0].padStart(5)}  ${cells[1].padEnd(18)}  ${hasNodes ? `${cells[2].padEnd(17)}  ` : ''}${cells[3].padEnd(19)}  ${cells[4]}`.trimEnd();
  const cell = (counts: Counts | null, ratio: number | null, noun: string): string =>
    counts === null || ratio === null ? '-' : `${timesMean(ratio).padStart(6)}  ${noun} ${hottest(counts)}`;
  return [
    row(['layer', 'hottest rank', 'hottest node', 'hottest expert', 'fan-out']),
    ...shown.map((index) => {
      const layer: LayerStatistics = perLayer[index];
      return row([
        String(routing.layers?.[index] ?? index),
        cell(layer.numTokensPerRank, layer.rankImbalance, 'rank'),
        cell(layer.numTokensPerRdmaRank, layer.rdmaRankImbalance, 'node'),
        cell(layer.numTokensPerExpert, layer.expertImbalance, 'expert'),
        layer.meanRanksPerToken?.toFixed(2).padStart(7) ?? '',
      ]);
    }),
  ];
}

function imbalanceNote(counts: Counts, ratio: number | null): string {
  if (ratio === null) return 'nothing to send';
  return `mean ${grouped(sum(counts) / counts.length)}, max/mean ${ratio.toFixed(2)}`;
}
