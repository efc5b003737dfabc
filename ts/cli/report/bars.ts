/**
 * Counts as bars, in at most 80 columns.
 *
 * @module
 */
import { type Counts, hottestFirst, sum } from './statistics.ts';

/** More counts than this are summed up as a histogram, with the hottest and coldest named. */
const maxBars = 32;
const columns = 80;
const maxBarColumns = 40;
const minBarColumns = 10;
const numNamed = 4;
const numBins = 10;

/**
 * One line for each count, or a histogram of many.
 *
 * @param noun what is counted by, such as `rank`.
 */
export function drawCounts(counts: Counts, noun: string): string[] {
  return counts.length <= maxBars ? drawBars(counts, noun) : drawHistogram(counts, noun);
}

/** A whole number with separators between thousands: `1,234`. */
export function grouped(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** How a number compares with the mean: `1.25x`. */
export function timesMean(ratio: number): string {
  return `${ratio.toFixed(2)}x`;
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
  const named = (indices: number[]): string =>
    indices.map((index) => `${index} (${grouped(counts[index])}, ${timesMean(counts[index] / mean)})`).join(', ');
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

/** Eighths of a column make small differences visible. Something is never drawn as nothing. */
function bar(share: number, barColumns: number): string {
  const eighths = Math.max(Math.round(share * barColumns * 8), share > 0 ? 1 : 0);
  const rest = eighths % 8;
  const drawn = '█'.repeat(eighths >> 3) + (rest === 0 ? '' : '▏▎▍▌▋▊▉'[rest - 1]);
  return drawn.padEnd(barColumns);
}

/** Breaks a list at its commas so that no line is over 80 columns. */
function wrap(head: string, list: string): string[] {
  const lines: string[] = [];
  let line = head;
  for (const part of list.split(/(?<=\),) /)) {
    if (line.length + part.length > columns && line.trim() !== head.trim()) {
      lines.push(line.trimEnd());
      line = ' '.repeat(head.length);
    }
    line += `${part} `;
  }
  return [...lines, line.trimEnd()];
}
