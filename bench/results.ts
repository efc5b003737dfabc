/**
 * The results of a benchmark, in the form of `results/benchmarks.json`. Everything in the report is computed from them.
 *
 * @module
 */
import { type Configuration, configurations, inPython, overExperts, overRanks, overTokens } from './configurations.ts';
import type { Measurements } from './measure.ts';

/** Seconds by variant, one number from each process. */
export type Samples = Readonly<Record<string, readonly number[]>>;

/** A configuration and what was measured on it: seconds per layout. */
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
export const format = 2;

export interface Results {
  readonly format: typeof format;
  readonly date: string;
  /** Names and values, as the report lists them. */
  readonly machine: Readonly<Record<string, string>>;
  /** What each variant is. */
  readonly variants: Readonly<Record<string, string>>;
  readonly layouts: readonly Entry[];
  readonly overTokens: readonly Entry[];
  readonly overRanks: readonly Entry[];
  readonly overExperts: readonly Entry[];
  /** Layouts in Python, and the layouts in JavaScript that they are compared with. */
  readonly inPython: readonly Entry[];
  /** By how the library is loaded: `import`, `require`. */
  readonly firstCalls: Readonly<Record<string, FirstCall>>;
  readonly heldMemory: HeldMemory;
  readonly sizes: Readonly<Record<string, Size>>;
}

type List = 'layouts' | 'overTokens' | 'overRanks' | 'overExperts' | 'inPython';

/** What several processes measured, put together. A process that did not measure a list has it empty. */
export function combine(processes: readonly Measurements[]): Pick<Results, keyof Measurements> {
  const list = (key: List, of: readonly Configuration[]) => {
    const measured = processes.map((measurements) => measurements[key]).filter(({ length }) => length > 0);
    return (measured[0] ?? []).map((_, index) => ({
      configuration: of[index],
      seconds: samplesOf(measured.map((entries) => entries[index])),
    }));
  };
  return {
    layouts: list('layouts', configurations),
    overTokens: list('overTokens', overTokens),
    overRanks: list('overRanks', overRanks),
    overExperts: list('overExperts', overExperts),
    inPython: list('inPython', inPython),
    variants: processes[0].variants,
  };
}

function samplesOf(processes: readonly Readonly<Record<string, number>>[]): Samples {
  return Object.fromEntries(
    Object.keys(processes[0]).map((name) => [
      name,
      processes.filter((seconds) => name in seconds).map((seconds) => seconds[name]),
    ]),
  );
}
