/**
 * Draws counts as bars, or as a histogram, in at most 80 columns.
 *
 * @module
 */

import { type Counts, hottestFirst, sum } from './counts.ts';
import { grouped, timesMean } from './numbers.ts';
import { columns, wrap } from './wrap.ts';

/** More counts than this are shown as a histogram, and only the hottest and the coldest are named. */
const maxBars = 32;
const maxBarColumns = 40;
const minBarColumns = 10;
/** How many of the hottest, and how many of the coldest, are named above a histogram. */
const numNamed = 4;
const numBins = 10;

/**
 * Draws a line for each count, or a histogram where there are many.
 *
 * @param noun what each count belongs to, such as `rank`.
 */
export function drawCounts(counts: Counts, noun: string): string[] {
  return counts.length <= maxBars ? drawBars(counts, noun) : drawHistogram(counts, noun);
}

function drawBars(counts: Counts, noun: string): string[] {
  const mean = sum(counts) / counts.length;
  const largest = Math.max(...Array.from(counts), 1);
  const labelColumns = `${noun} ${counts.length - 1}`.length;
  const countColumns = grouped(largest).length;
  return Array.from(counts, (count, index) => {
    const label = `${noun} ${String(index).padStart(labelColumns - noun.length - 1)}`;
    const share = mean === 0 ? '' : ` ${timesMean(count / mean).padStart(7)}`;
    return `  ${label}  ${bar(count / largest, maxBarColumns)}  ${grouped(count).padStart(countColumns)}${share}`;
  });
}

function drawHistogram(counts: Counts, noun: string): string[] {
  const mean = sum(counts) / counts.length;
  if (mean === 0) return [`  all ${counts.length} ${noun}s have 0 tokens`];
  const order = hottestFirst(counts);
  const largest = counts[order[0]];
  const smallest = counts[order[counts.length - 1]];
  const named = (indices: number[]): string[] =>
    indices.map((index, place) => {
      const comma = place === indices.length - 1 ? '' : ',';
      return `${index} (${grouped(counts[index])}, ${timesMean(counts[index] / mean)})${comma}`;
    });
  const lines = [
    ...wrap(`  hottest ${noun}s  `, named(order.slice(0, numNamed))),
    ...wrap(`  coldest ${noun}s  `, named(order.slice(-numNamed).reverse())),
  ];
  if (largest === smallest) return [...lines, `  all ${counts.length} ${noun}s have ${grouped(largest)} tokens`];

  const binWidth = Math.max(Math.ceil((largest - smallest + 1) / numBins), 1);
  const bins = new Array<number>(Math.floor((largest - smallest) / binWidth) + 1).fill(0);
  for (let index = 0; index < counts.length; index++) bins[Math.floor((counts[index] - smallest) / binWidth)]++;
  const fullest = Math.max(...bins);
  const numberColumns = grouped(largest + binWidth).length;
  const otherColumns = `  ${' to '} tokens  `.length + 2 * numberColumns + `  ${counts.length} ${noun}s`.length;
  const barColumns = Math.max(minBarColumns, Math.min(maxBarColumns, columns - otherColumns));
  return [
    ...lines,
    ...bins.map((inBin, index) => {
      const from = smallest + index * binWidth;
      const range = `${grouped(from).padStart(numberColumns)} to ${grouped(from + binWidth - 1).padStart(numberColumns)}`;
      return `  ${range} tokens  ${bar(inBin / fullest, barColumns)}  ${inBin} ${inBin === 1 ? noun : `${noun}s`}`;
    }),
  ];
}

/**
 * A bar that covers this share of the columns. It is drawn in eighths of a column, so that small differences can be seen. A
 * share above 0 gets at least one eighth.
 */
function bar(share: number, barColumns: number): string {
  const eighths = Math.max(Math.round(share * barColumns * 8), share > 0 ? 1 : 0);
  const rest = eighths % 8;
  const drawn = '█'.repeat(eighths >> 3) + (rest === 0 ? '' : '▏▎▍▌▋▊▉'[rest - 1]);
  return drawn.padEnd(barColumns);
}
