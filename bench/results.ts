/**
 * What a benchmark found: the form of `results/benchmarks.json`. Everything that is shown is computed from it.
 *
 * @module
 */
import { type Configuration, configurations, overExperts, overRanks, overTokens } from './configurations.ts';
import type { Measurements } from './measure.ts';

/** Seconds by variant, one number from each process. */
export type Samples = Readonly<Record<string, readonly number[]>>;

/** A configuration and what was measured on it: seconds per layout. */
export interface Entry {
  readonly configuration: Configuration;
  readonly seconds: Samples;
}

/** Latency and memory of a process that has just started, medians; first-calls.mjs says what is what. */
export interface FirstCalls {
  readonly importMilliseconds: number;
  readonly firstMilliseconds: number;
  readonly secondMilliseconds: number;
  readonly steadyNanosecondsPerToken: number;
  readonly wasmBytes: number;
  readonly heapBytesPerCall: number;
}

export interface Size {
  readonly raw: number;
  readonly gzip: number;
}

export interface Results {
  readonly format: 1;
  readonly date: string;
  /** Name and value, as the report lists them. */
  readonly machine: Readonly<Record<string, string>>;
  /** What each variant is. */
  readonly variants: Readonly<Record<string, string>>;
  readonly layouts: readonly Entry[];
  readonly overTokens: readonly Entry[];
  readonly overRanks: readonly Entry[];
  readonly overExperts: readonly Entry[];
  readonly histograms: Samples;
  /** By how V8 was told to compile the kernel. */
  readonly firstCalls: Readonly<Record<string, FirstCalls>>;
  readonly sizes: Readonly<Record<string, Size>>;
}

/** The lists of several processes, put together. */
export function combine(processes: readonly Measurements[]): Pick<Results, keyof Measurements> {
  const list = (key: 'layouts' | 'overTokens' | 'overRanks' | 'overExperts', of: readonly Configuration[]) =>
    processes[0][key].map((_, index) => ({
      configuration: of[index],
      seconds: samplesOf(processes.map((measurements) => measurements[key][index])),
    }));
  return {
    layouts: list('layouts', configurations),
    overTokens: list('overTokens', overTokens),
    overRanks: list('overRanks', overRanks),
    overExperts: list('overExperts', overExperts),
    histograms: samplesOf(processes.map(({ histograms }) => histograms)),
    variants: processes[0].variants,
  };
}

function samplesOf(processes: readonly Readonly<Record<string, number>>[]): Samples {
  return Object.fromEntries(Object.keys(processes[0]).map((name) => [name, processes.map((seconds) => seconds[name])]));
}
