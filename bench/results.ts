/**
 * The results of a benchmark, in the form of `results/benchmarks.json`. Everything in the report is computed from them.
 *
 * @module
 */
import { type Configuration, type ListName, listNames, lists, type orderLists } from './configurations.ts';
import type { Measurements } from './measure.ts';

/** Seconds by variant, one number from each process. */
export type Samples = Readonly<Record<string, readonly number[]>>;

/** A configuration and what was measured on it: seconds per layout, or per order of rows. */
export interface Entry {
  readonly configuration: Configuration;
  readonly seconds: Samples;
}

/** Medians of the first call in a process; first-call.mjs says what each number is. */
export interface FirstCall {
  readonly loadMilliseconds: number;
  readonly firstMilliseconds: number;
  readonly togetherMilliseconds: number;
  readonly loadBytes: number;
  readonly residentBytes: number;
}

/** Medians of what calls leave in memory; held-memory.mjs says what each number is. */
export interface HeldMemory {
  readonly wasmBytes: number;
  readonly heapBytesPerCall: number;
}

export interface Size {
  readonly raw: number;
  readonly gzip: number;
}

/** The number of this form; it changes when older files can no longer be read. */
export const format = 3;

/** When and where something was measured, and what. */
export interface Run {
  readonly date: string;
  /** Names and values, as the report lists them. */
  readonly machine: Readonly<Record<string, string>>;
  /** What each variant is. */
  readonly variants: Readonly<Record<string, string>>;
}

/** The lists of orders of rows. */
type OrderList = (typeof orderLists)[number];

/** Orders of rows. They can be measured without the rest. */
export interface OrderResults extends Run, Readonly<Record<OrderList, readonly Entry[]>> {}

/** The lists of layouts are those of configurations.ts. */
export interface Results extends Run, Readonly<Record<Exclude<ListName, OrderList>, readonly Entry[]>> {
  readonly format: typeof format;
  readonly orders: OrderResults;
  /** By how the library is loaded: `import`, `require`. */
  readonly firstCalls: Readonly<Record<string, FirstCall>>;
  readonly heldMemory: HeldMemory;
  readonly sizes: Readonly<Record<string, Size>>;
}

/** What several processes measured, put together. */
export interface Measured extends Readonly<Record<ListName, readonly Entry[]>> {
  readonly variants: Readonly<Record<string, string>>;
  readonly orderVariants: Readonly<Record<string, string>>;
}

/** Puts together what several processes measured. A process that did not measure a list has it empty. */
export function combine(processes: readonly Measurements[]): Measured {
  const combined = listNames.map((list) => {
    const measured = processes.map((measurements) => measurements[list]).filter(({ length }) => length > 0);
    const entries = (measured[0] ?? []).map((_, index) => ({
      configuration: lists[list][index],
      seconds: samplesOf(measured.map((process) => process[index])),
    }));
    return [list, entries];
  });
  const { variants, orderVariants } = processes[0];
  return { ...(Object.fromEntries(combined) as Record<ListName, Entry[]>), variants, orderVariants };
}

/** The results of orders of rows among what was measured. */
export function ordersOf(measured: Measured, { date, machine }: Pick<Run, 'date' | 'machine'>): OrderResults {
  const { orderVariants: variants, byExpert, byRank, byExpertInPython, byRankInPython } = measured;
  return { date, machine, variants, byExpert, byRank, byExpertInPython, byRankInPython };
}

function samplesOf(processes: readonly Readonly<Record<string, number>>[]): Samples {
  return Object.fromEntries(
    Object.keys(processes[0]).map((name) => [
      name,
      processes.filter((seconds) => name in seconds).map((seconds) => seconds[name]),
    ]),
  );
}
