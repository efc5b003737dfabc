/**
 * The report of a layout for people. Its lines have at most 80 columns.
 *
 * @module
 */
import { drawCounts } from './bars.ts';
import { expertStatisticsSection } from './expert-statistics.ts';
import { fact, factsOfComputing, factsOfFile, numSlots } from './facts.ts';
import { linesOfFindings } from './findings-text.ts';
import { gatesSection } from './gates.ts';
import type { LayoutResult } from './layout-result.ts';
import { grouped } from './numbers.ts';
import { describePlacement, planFindingsSection } from './plan-findings.ts';
import {
  expertTable,
  type Heading,
  headingIn,
  hottestCell,
  imbalanceNote,
  layersInTable,
  layersNote,
} from './sections.ts';
import { megabytes } from './traffic.ts';

/** @param colour whether the terminal is to show headings in bold. */
export function formatLayoutText(result: LayoutResult, colour: boolean): string {
  const heading = headingIn(colour);
  const { total, computed } = result;
  const note = (counts: ArrayLike<number>, ratio: number | null): string =>
    imbalanceNote(counts, ratio, computed.numLayers, 'nothing to send');
  const serious = result.findings.filter(({ effect }) => effect !== null);
  const lines = [
    ...facts(result),
    '',
    ...(serious.length === 0 ? [] : [heading('Findings', ''), ...linesOfFindings(serious), '']),
    heading('Tokens per rank', note(total.numTokensPerRank, total.rankImbalance)),
    ...drawCounts(total.numTokensPerRank, 'rank'),
    '',
  ];
  if (total.numTokensPerRdmaRank !== null) {
    lines.push(
      heading('Tokens per RDMA rank', note(total.numTokensPerRdmaRank, total.rdmaRankImbalance)),
      ...drawCounts(total.numTokensPerRdmaRank, 'node'),
      '',
    );
  }
  lines.push(
    heading('Tokens per expert', note(total.numTokensPerExpert, total.expertImbalance)),
    ...expertTable(total.numTokensPerExpert),
    '',
    heading('Fan-out', ''),
    ...fanOut(result),
  );
  if (result.expertStatistics !== null) {
    lines.push(...expertStatisticsSection(result.expertStatistics, computed.routing.layers, heading));
  }
  if (computed.numLayers > 1) lines.push('', ...layersSection(result, heading));
  if (result.planFindings !== null) lines.push(...planFindingsSection('The plan', result.planFindings, heading));
  lines.push(...gatesSection(result.gates, heading));
  return `${lines.join('\n')}\n`;
}

function facts(result: LayoutResult): string[] {
  const { computed, placement, total } = result;
  const slots = numSlots(computed);
  const empty = total.numEmptySlots;
  const emptyNote = empty === 0 ? 'none empty' : `${grouped(empty)} empty (${((100 * empty) / slots).toFixed(2)} %)`;
  const { numExperts, numRanks, numRdmaRanks, numRanksPerNode } = computed;
  const nodes = numRdmaRanks === 1 ? 'one node' : `${numRdmaRanks} nodes of ${numRanksPerNode}`;
  return [
    ...factsOfFile(computed.routing, computed.numLayers),
    ...fact('slots', `${grouped(slots)}, ${emptyNote}`),
    ...fact('experts', `${numExperts}, ${describePlacement(placement)}`),
    ...fact('ranks', `${numRanks} in ${nodes}`),
    ...factsOfComputing(result, 'the layout'),
    ...(result.idsSha256 === null ? [] : fact('sha256', result.idsSha256)),
  ];
}

function fanOut({ computed, total, bytesPerToken, numTokensBetweenOthers }: LayoutResult): string[] {
  const { meanRanksPerToken, meanNodesPerToken } = total;
  if (meanRanksPerToken === null) return ['  no tokens'];
  const mostRanks = Math.min(computed.numTopk, computed.numRanks);
  const mostNodes = Math.min(computed.numTopk, computed.numRdmaRanks);
  return [
    `  a token goes to ${meanRanksPerToken.toFixed(2)} ranks on average, of at most ${mostRanks}`,
    ...(meanNodesPerToken === null ? [] : [`  and to ${meanNodesPerToken.toFixed(2)} nodes, of at most ${mostNodes}`]),
    ...(bytesPerToken === null
      ? []
      : [
          `  ${megabytes(numTokensBetweenOthers.ranks * bytesPerToken)} go from a rank to another one`,
          ...(meanNodesPerToken === null
            ? []
            : [`  and ${megabytes(numTokensBetweenOthers.nodes * bytesPerToken)} from a node to another one`]),
        ]),
  ];
}

function layersSection({ perLayer, computed }: LayoutResult, heading: Heading): string[] {
  const { layers } = computed.routing;
  const ratios = perLayer.map((layer) => layer.rankImbalance);
  const hasNodes = perLayer[0].numTokensPerRdmaRank !== null;
  const row = (cells: readonly string[]): string =>
    `  ${cells[0].padStart(5)}  ${cells[1].padEnd(18)}  ${hasNodes ? `${cells[2].padEnd(17)}  ` : ''}${cells[3].padEnd(19)}  ${cells[4]}`.trimEnd();
  return [
    heading('Layers', layersNote(ratios, layers, ' by rank')),
    row(['layer', 'hottest rank', 'hottest node', 'hottest expert', 'fan-out']),
    ...layersInTable(ratios).map((index) => {
      const layer = perLayer[index];
      return row([
        String(layers?.[index] ?? index),
        hottestCell(layer.numTokensPerRank, layer.rankImbalance, 'rank'),
        hottestCell(layer.numTokensPerRdmaRank, layer.rdmaRankImbalance, 'node'),
        hottestCell(layer.numTokensPerExpert, layer.expertImbalance, 'expert'),
        layer.meanRanksPerToken?.toFixed(2).padStart(7) ?? '',
      ]);
    }),
  ];
}
