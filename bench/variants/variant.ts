/**
 * What a way to compute layouts or orders of rows looks like to the benchmark.
 *
 * @module
 */
import type { LayoutArrays } from 'dispatch-layout';
import { forOutputs, outputs } from '../../test/conformance/oracle.ts';
import type { Configuration } from '../configurations.ts';

/** A configuration with its ids, in both types that routers use. */
export interface Problem {
  readonly configuration: Configuration;
  readonly int64: BigInt64Array;
  readonly int32: Int32Array;
}

/** A way to compute layouts or orders of rows, ready for one problem. */
export interface Prepared<Result = LayoutArrays> {
  /** What is timed. */
  run(): void;
  /**
   * How many results a run computes, if not one. There are several if a call from JavaScript would take too large a
   * share.
   */
  readonly resultsPerRun?: number;
  /** What the last run computed. */
  result(): Result;
}

/** A way to compute layouts or orders of rows. */
export type Variant<Result = LayoutArrays> = (problem: Problem) => Prepared<Result>;

/** New result arrays of a layout. */
export function newArrays(configuration: Configuration): LayoutArrays {
  const arrays: unknown = forOutputs((name) => {
    const { type, lengthOf } = outputs[name];
    const length = lengthOf({ ...configuration, numRanksPerNode });
    return length === null ? null : new type(length);
  });
  return arrays as LayoutArrays;
}

/** Ranks of one node, as in DeepEP. */
export const numRanksPerNode = 8;

/**
 * How many ids are located before they are counted. The variants that call the library's kernel use the library's
 * number.
 */
export const maxLocatedIds = 512 * 1024;
