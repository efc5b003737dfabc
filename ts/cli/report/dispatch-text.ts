/**
 * The report of a dispatch for people. Its lines have at most 80 columns.
 *
 * @module
 */

import { inFlags } from '../fail.ts';
import { hottestFirst, sum } from './counts.ts';
import { type DispatchResult, type DispatchStatistics, perLayer, total } from './dispatch-result.ts';
import { fact } from './facts.ts';
import { counted, grouped } from './numbers.ts';
import { describePlacement, planFindingsSection } from './plan-findings.ts';
import { headingIn, hottestCell, imbalanceNote, layersInTable, layersNote } from './sections.ts';
import { columns } from './wrap.ts';

/** The most ranks, or nodes, whose traffic is shown as a whole table. Of more, the busiest pairs are named. */
const maxInTable = 16;
/** How many of the busiest pairs are named. */
const numPairs = 10;
/** The most ranks that have a line each. Of more, the busiest are shown. */
const maxRankLines = 32;

/** @param colour whether the terminal is to show headings in bold. */
export function formatDispatchText(result: DispatchResult, colour: boolean): string {
  const heading = headingIn(colour);
  const { dispatch } = result;
  const { numRanks, numRdmaRanks, layers } = dispatch;
  const all = total(dispatch);
  const note = imbalanceNote(all.numTokensPerRank, all.rankImbalance, layers.length, 'nothing is sent');
  const lines = [
    ...facts(result),
    '',
    heading('Received', note),
    ...received(result, all),
    '',
    heading('Tokens between ranks', trafficNote(all.numTokensBetweenRanks, numRanks, 'rank')),
    ...traffic(all.numTokensBetweenRanks, numRanks, 'rank'),
  ];
  if (numRdmaRanks > 1) {
    lines.push(
      '',
      heading('Tokens between nodes', trafficNote(all.numTokensBetweenNodes, numRdmaRanks, 'node')),
      ...traffic(all.numTokensBetweenNodes, numRdmaRanks, 'node'),
    );
  }
  if (layers.length > 1) lines.push('', ...layersSection(result, heading));
  if (result.planFindings !== null) lines.push(...planFindingsSection('The plan', result.planFindings, heading));
  return `${lines.join('\n')}\n`;
}

function facts({ dispatch, placement, deviceReason }: DispatchResult): string[] {
  const { ranks, numRanks, numRanksPerNode, numRdmaRanks, numExperts, numTopk, alignment, device, layers } = dispatch;
  const [{ routing, layers: chosen, name, numLayersInFile }] = ranks;
  const tokens = ranks.map((rank) => rank.routing.tokens);
  const [least, most] = [Math.min(...tokens), Math.max(...tokens)];
  const perRank = least === most ? counted(most, 'token') : `${grouped(least)} to ${counted(most, 'token')}`;
  const files = ranks.length === 1 ? name : `${ranks.length}, from ${name} to ${ranks[ranks.length - 1].name}`;
  const ofLayers =
    chosen === null
      ? ''
      : layers.length === numLayersInFile
        ? `${counted(layers.length, 'layer')}, `
        : `layer ${chosen[0]} of ${numLayersInFile}, `;
  const types = [...new Set(ranks.map((rank) => rank.routing.idType))].join(', ');
  const nodes = numRdmaRanks === 1 ? 'one node' : `${numRdmaRanks} nodes of ${numRanksPerNode}`;
  return [
    ...fact('files', files),
    ...fact('topk_idx', `${types} [${ofLayers}${perRank}, top-${numTopk}] on each rank`),
    ...(chosen === null ? [] : fact('axes', `${routing.axes}: ${inFlags(routing.axesBecause)}`)),
    ...fact('experts', `${numExperts}, ${describePlacement(placement)}`),
    ...fact('ranks', `${numRanks} in ${nodes}`),
    ...fact('rows', alignment === 1 ? 'not padded' : `padded to multiples of ${alignment} for each expert`),
    ...fact('device', `${device}: ${deviceReason}`),
  ];
}

/** A line for each rank: what it receives, and how much of it comes from elsewhere. */
function received({ dispatch }: DispatchResult, all: DispatchStatistics): string[] {
  const { numRanks, alignment } = dispatch;
  const order = hottestFirst(all.numTokensPerRank);
  const shown = numRanks <= maxRankLines ? [...order.keys()] : order.slice(0, maxRankLines);
  const titles = ['rank', 'tokens', 'from others', 'sends to others', 'rows', ...(alignment > 1 ? ['padding'] : [])];
  const cells = shown.map((rank) => {
    const own = all.numTokensBetweenRanks[rank * numRanks + rank];
    const rows = all.numRowsPerRank[rank];
    const numbers = [
      all.numTokensPerRank[rank],
      all.numTokensPerRank[rank] - own,
      all.numTokensSentPerRank[rank] - own,
      rows,
      ...(alignment > 1 ? [rows - all.numSelectionsPerRank[rank]] : []),
    ];
    return [String(rank), ...numbers.map(grouped)];
  });
  const rest = numRanks - shown.length;
  return [
    ...table([titles, ...cells]),
    ...(rest === 0 ? [] : [`  and ${rest} more ranks, which receive fewer tokens`]),
  ];
}

/** Columns that are aligned to the right. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) => `  ${row.map((cell, column) => cell.padStart(widths[column])).join('  ')}`);
}

function trafficNote(tokens: Float64Array, size: number, noun: string): string {
  const own = sum(Array.from({ length: size }, (_, index) => tokens[index * size + index]));
  const all = sum(tokens);
  return all === 0 ? 'none' : `${grouped(all)}, ${((100 * own) / all).toFixed(1)} % stay on their ${noun}`;
}

/** The traffic as a table of senders (rows) and receivers, or the busiest pairs where there are too many. */
function traffic(tokens: Float64Array, size: number, noun: string): string[] {
  return size <= maxInTable ? matrix(tokens, size, noun) : busiestPairs(tokens, size, noun);
}

/** The table, in several parts where it is too wide. */
function matrix(tokens: Float64Array, size: number, noun: string): string[] {
  const width = Math.max(...Array.from(tokens, (count) => grouped(count).length), `to ${size - 1}`.length);
  const label = `  from ${noun} ${size - 1}`.length;
  const perPart = Math.max(1, Math.floor((columns - label) / (width + 2)));
  const lines: string[] = [];
  for (let begin = 0; begin < size; begin += perPart) {
    const receivers = Array.from({ length: Math.min(perPart, size - begin) }, (_, index) => begin + index);
    const row = (title: string, cells: readonly string[]): string =>
      `${title.padEnd(label)}${cells.map((cell) => `  ${cell.padStart(width)}`).join('')}`;
    lines.push(
      row(
        '',
        receivers.map((rank) => `to ${rank}`),
      ),
    );
    for (let source = 0; source < size; source++) {
      const numbers = receivers.map((rank) => grouped(tokens[source * size + rank]));
      lines.push(row(`  from ${noun} ${source}`, numbers));
    }
  }
  return lines;
}

function busiestPairs(tokens: Float64Array, size: number, noun: string): string[] {
  const others = tokens.slice();
  for (let index = 0; index < size; index++) others[index * size + index] = 0;
  const pairs = hottestFirst(others).slice(0, numPairs);
  return [
    `  the ${numPairs} busiest of ${grouped(size * (size - 1))} pairs; --json has all`,
    ...table([
      [`from ${noun}`, `to ${noun}`, 'tokens'],
      ...pairs.map((pair) => [String(Math.floor(pair / size)), String(pair % size), grouped(others[pair])]),
    ]),
  ];
}

function layersSection({ dispatch }: DispatchResult, heading: ReturnType<typeof headingIn>): string[] {
  const { layers } = dispatch.ranks[0];
  const ofLayers = perLayer(dispatch);
  const ratios = ofLayers.map(({ rankImbalance }) => rankImbalance);
  return [
    heading('Layers', layersNote(ratios, layers)),
    ...table([
      ['layer', 'tokens', 'busiest rank  '],
      ...layersInTable(ratios).map((index) => {
        const { numTokensPerRank, rankImbalance } = ofLayers[index];
        const hottest = hottestCell(numTokensPerRank, rankImbalance, 'rank');
        return [String(layers?.[index] ?? index), grouped(sum(numTokensPerRank)), hottest];
      }),
    ]),
  ];
}
