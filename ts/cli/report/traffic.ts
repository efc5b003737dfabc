/**
 * What ranks and nodes send to each other, for reports.
 *
 * @module
 */
import type { Traffic } from '../compute/sent-tokens.ts';
import { fail } from '../fail.ts';
import { grouped } from './numbers.ts';

/** The size of a token, where `--hidden-size` says it. */
export interface TokenSize {
  readonly hiddenSize?: number;
  readonly bytesPerElement?: number;
}

/** The bytes of an element without `--bytes-per-element`. */
export const defaultBytesPerElement = 2;

/** Refuses the size of an element where the number of elements is not known, since it would change nothing. */
export function refuseSizeOfElement({ hiddenSize, bytesPerElement }: TokenSize): void {
  if (bytesPerElement !== undefined && hiddenSize === undefined) {
    fail('--bytes-per-element is for --hidden-size; pass it, too');
  }
}

/** The bytes of a token, or `null` where its size is not known. */
export function bytesPerToken({ hiddenSize, bytesPerElement = defaultBytesPerElement }: TokenSize): number | null {
  return hiddenSize === undefined ? null : hiddenSize * bytesPerElement;
}

/** The tables of a report for programs, in tokens, and also in bytes where the size of a token is known. */
export function jsonOfTraffic(traffic: Traffic | null, bytes: number | null): object | null {
  if (traffic === null) return null;
  const { source, numTokensBetweenRanks, numTokensBetweenNodes } = traffic;
  const rows = (table: readonly Float64Array[] | null, factor: number): number[][] | null =>
    table?.map((row) => Array.from(row, (count) => count * factor)) ?? null;
  return {
    source,
    numTokensBetweenRanks: rows(numTokensBetweenRanks, 1),
    numTokensBetweenNodes: rows(numTokensBetweenNodes, 1),
    ...(bytes !== null && {
      bytesBetweenRanks: rows(numTokensBetweenRanks, bytes),
      bytesBetweenNodes: rows(numTokensBetweenNodes, bytes),
    }),
  };
}

/** Bytes in the unit of reports: `1,095 MB`. */
export function megabytes(bytes: number): string {
  return `${grouped(bytes / 1e6)} MB`;
}
