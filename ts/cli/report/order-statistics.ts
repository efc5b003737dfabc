/**
 * The numbers of rows of an order, and how even they are.
 *
 * @module
 */
import type { OrderOfLayers } from '../write/order-file.ts';
import { type Counts, imbalance, sum, sumOverLayers } from './counts.ts';

/** The statistics of the order of one layer, or of all layers together. */
export interface OrderStatistics {
  /** The rows of each local expert or of each rank, without padding. */
  readonly counts: Counts;
  /** The largest count divided by the mean count: 1 where all are equal, `null` where nothing was counted. */
  readonly imbalance: number | null;
  /** The number of rows, padding included. */
  readonly numRows: number;
  /** The number of rows that are padding. */
  readonly numPaddingRows: number;
}

/** The statistics of each layer. */
export function perLayer({ counts, numRows }: OrderOfLayers): OrderStatistics[] {
  return counts.map((ofLayer, layer) => summarise(ofLayer, numRows[layer]));
}

/** The statistics of all layers together. */
export function total({ counts, numRows }: OrderOfLayers): OrderStatistics {
  return summarise(sumOverLayers(counts), sum(numRows));
}

function summarise(counts: Counts, numRows: number): OrderStatistics {
  return { counts, imbalance: imbalance(counts), numRows, numPaddingRows: numRows - sum(counts) };
}
