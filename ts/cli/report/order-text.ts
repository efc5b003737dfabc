/**
 * The report of an order for people. Its lines have at most 80 columns.
 *
 * @module
 */
import type { ExpertOrder } from '../library.ts';
import { drawCounts } from './bars.ts';
import { fact, factsOfComputing, factsOfFile, numSlots } from './facts.ts';
import { grouped } from './numbers.ts';
import type { OrderResult } from './order-result.ts';
import type { OrderStatistics } from './order-statistics.ts';
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

/** @param colour whether the terminal is to show headings in bold. */
export function formatOrderText(result: OrderResult, colour: boolean): string {
  const heading = headingIn(colour);
  const { computed, total } = result;
  const { computation, numLayers } = computed;
  const note = imbalanceNote(total.counts, total.imbalance, numLayers, 'no rows');
  const lines = [
    ...facts(result),
    '',
    heading(`Tokens per ${nounOf(result)}`, note),
    ...(computation.kind === 'byExpert'
      ? expertTable(total.counts, computation.firstExpert)
      : drawCounts(total.counts, 'rank')),
  ];
  if (numLayers > 1) lines.push('', ...layersSection(result, heading));
  if (result.planFindings !== null) lines.push(...planFindingsSection('The plan', result.planFindings, heading));
  return `${lines.join('\n')}\n`;
}

/** What the rows are grouped by. */
function nounOf({ computed }: OrderResult): 'expert' | 'rank' {
  return computed.computation.kind === 'byExpert' ? 'expert' : 'rank';
}

function facts(result: OrderResult): string[] {
  const { computed, total } = result;
  const slots = numSlots(computed);
  const placed = total.numRows - total.numPaddingRows;
  const placedNote = placed === slots ? 'each has a row' : `${grouped(placed)} have a row`;
  return [
    ...factsOfFile(computed.routing, computed.numLayers),
    ...fact('slots', `${grouped(slots)}, ${placedNote}`),
    ...factsOfOrder(result),
    ...factsOfComputing(result, 'the order'),
  ];
}

function factsOfOrder({ computed, placement, total }: OrderResult): string[] {
  const { computation, numExperts, numRanks, numTokens, numLayers } = computed;
  const rows = grouped(total.numRows);
  if (computation.kind === 'byExpert') {
    const padding = computation.alignment === 1 ? 'not padded' : paddingNote(total, computation.alignment);
    return [...fact('experts', describeExperts(computation, numExperts)), ...fact('rows', `${rows}, ${padding}`)];
  }
  const perToken = numTokens === 0 ? 'no tokens' : `${(total.numRows / (numTokens * numLayers)).toFixed(2)} per token`;
  return [
    ...fact('experts', `${numExperts}, ${placement === null ? '' : describePlacement(placement)}`),
    ...fact('ranks', `${numRanks}; the ${computation.winner} slot of a token for a rank has the row`),
    ...fact('rows', `${rows}, ${perToken}`),
  ];
}

function describeExperts({ firstExpert, numLocalExperts }: ExpertOrder, numExperts: number): string {
  if (numLocalExperts === numExperts) return `${numExperts}, all local`;
  return `${numExperts}, of which ${numLocalExperts} are local, from expert ${firstExpert} on`;
}

function paddingNote({ numRows, numPaddingRows }: OrderStatistics, alignment: number): string {
  const share = numRows === 0 ? '' : ` (${((100 * numPaddingRows) / numRows).toFixed(2)} %)`;
  return `of which ${grouped(numPaddingRows)} ${numPaddingRows === 1 ? 'is' : 'are'} padding${share} to multiples of ${alignment}`;
}

function layersSection(result: OrderResult, heading: Heading): string[] {
  const { perLayer, computed } = result;
  const { layers } = computed.routing;
  const { computation } = computed;
  const noun = nounOf(result);
  const ratios = perLayer.map((layer) => layer.imbalance);
  const [first, isPadded] =
    computation.kind === 'byExpert' ? [computation.firstExpert, computation.alignment > 1] : [0, false];
  const row = ([layer, hottest, rows, padding]: readonly string[]): string =>
    `  ${layer.padStart(5)}  ${hottest.padEnd(20)}  ${rows.padStart(13)}${isPadded ? `  ${padding.padStart(13)}` : ''}`;
  return [
    heading('Layers', layersNote(ratios, layers)),
    row(['layer', `hottest ${noun}`, 'rows', 'padding']),
    ...layersInTable(ratios).map((index) => {
      const { counts, imbalance, numRows, numPaddingRows } = perLayer[index];
      const hottest = hottestCell(counts, imbalance, noun, first);
      return row([String(layers?.[index] ?? index), hottest, grouped(numRows), grouped(numPaddingRows)]);
    }),
  ];
}
