/**
 * The parts of a report for people that those of all commands have. Their lines have at most 80 columns.
 *
 * @module
 */
import { styleText } from 'node:util';
import { type Counts, hottest, hottestFirst, sum } from './counts.ts';
import { grouped, timesMean } from './numbers.ts';

/** How many of the hottest, and how many of the coldest, experts are named. */
const numNamedExperts = 5;
/** The most rows of the table of layers. If there are more layers, the least even ones are shown. */
const maxLayerRows = 32;

/** Makes headings, each with a note behind it. */
export type Heading = (title: string, note: string) => string;

/** @param colour whether the terminal is to show headings in bold. */
export function headingIn(colour: boolean): Heading {
  return (title, note) => {
    const styled = colour ? styleText('bold', title, { validateStream: false }) : title;
    return note === '' ? styled : `${styled}${' '.repeat(Math.max(2, 26 - title.length))}${note}`;
  };
}

/**
 * The note behind the heading of counts.
 *
 * @param nothing what to say if all counts are 0.
 */
export function imbalanceNote(counts: Counts, ratio: number | null, numLayers: number, nothing: string): string {
  const together = numLayers > 1 ? 'all layers together, ' : '';
  if (ratio === null) return `${together}${nothing}`;
  return `${together}mean ${grouped(sum(counts) / counts.length)}, max/mean ${ratio.toFixed(2)}`;
}

/**
 * A table of the hottest and the coldest experts.
 *
 * @param firstExpert the number of the expert that the first count belongs to.
 */
export function expertTable(counts: Counts, firstExpert = 0): string[] {
  const mean = sum(counts) / counts.length;
  if (mean === 0) return ['  no expert was selected'];
  const order = hottestFirst(counts);
  const numRows = Math.min(numNamedExperts, counts.length);
  const numberColumns = String(firstExpert + counts.length - 1).length;
  const named = (index: number): string => {
    const count = grouped(counts[index]).padStart(grouped(counts[order[0]]).length);
    const number = String(firstExpert + index).padStart(numberColumns);
    return `expert ${number}  ${count} ${timesMean(counts[index] / mean).padStart(7)}`;
  };
  const columns = named(order[0]).length + 4;
  const unused = order.filter((index) => counts[index] === 0).length;
  return [
    `  ${'hottest'.padEnd(columns)}coldest`,
    ...Array.from({ length: numRows }, (_, row) => {
      return `  ${named(order[row]).padEnd(columns)}${named(order[order.length - 1 - row])}`;
    }),
    ...(unused === 0 ? [] : [`  ${unused} of ${counts.length} experts got no token`]),
  ];
}

/** The layers that the table of layers shows, as indices of the chosen ones. */
export function layersInTable(ratios: readonly (number | null)[]): number[] {
  const order = ratios.map((_, index) => index);
  if (ratios.length <= maxLayerRows) return order;
  const ratioOf = (index: number): number => ratios[index] ?? 0;
  return order.sort((left, right) => ratioOf(right) - ratioOf(left) || left - right).slice(0, maxLayerRows);
}

/**
 * The note behind the heading of the table of layers.
 *
 * @param ratios what the layers are compared by.
 * @param by says so where a layer has several ratios, such as ` by rank`.
 */
export function layersNote(ratios: readonly (number | null)[], layers: readonly number[] | null, by = ''): string {
  const worst = hottest(ratios.map((ratio) => ratio ?? 0));
  const most = `up to ${timesMean(ratios[worst] ?? 0)}${by}`;
  // The table of the least even ones begins with the worst
  return ratios.length > maxLayerRows
    ? `the ${maxLayerRows} least even of ${ratios.length}, ${most}`
    : `max/mean in each, ${most} in layer ${layers?.[worst]}`;
}

/** A cell of the table of layers: the hottest rank, node or expert, and how much it is above the mean. */
export function hottestCell(counts: Counts | null, ratio: number | null, noun: string, first = 0): string {
  if (counts === null || ratio === null) return '-';
  return `${timesMean(ratio).padStart(6)}  ${noun} ${first + hottest(counts)}`;
}
