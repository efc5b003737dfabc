/**
 * One process of the benchmark, which run.ts starts. It measures everything, with the variants in turn, and prints one
 * JSON object. With `--layouts`, it measures only the layouts of the first table. With `--quick`, it measures one round
 * instead of three.
 *
 * @module
 */
import { parseArgs } from 'node:util';
import { ExpertGroup } from 'dispatch-layout';
import { answer, type ExpectedLayout, forOutputs, rowsOf } from '../test/conformance/oracle.ts';
import { expectArrays } from '../test/support/expect.ts';
import { type Configuration, configurations, inPython, overExperts, overRanks, overTokens } from './configurations.ts';
import { timePython } from './libraries/python-layouts.ts';
import { makeRouting } from './routing.ts';
import { median } from './statistics.ts';
import { secondsPerRun, warmUp } from './time.ts';
import { variants } from './variants/index.ts';
import { names } from './variants/names.ts';
import type { Problem } from './variants/variant.ts';

/** Seconds per layout of each variant. */
type Seconds = Readonly<Record<string, number>>;

/** What a process prints. The lists are in the order of configurations.ts. */
export interface Measurements {
  readonly layouts: readonly Seconds[];
  readonly overTokens: readonly Seconds[];
  readonly overRanks: readonly Seconds[];
  readonly overExperts: readonly Seconds[];
  readonly inPython: readonly Seconds[];
  /** What each variant is. */
  readonly variants: Readonly<Record<string, string>>;
}

/**
 * The largest number of tokens that the oracle is asked about, since it makes an object of every id. For more tokens,
 * the `js` device, which the oracle has checked on fewer, says what is right.
 */
const maxOracleTokens = 100_000;

const { values: settings } = parseArgs({ options: { layouts: { type: 'boolean' }, quick: { type: 'boolean' } } });
const numRounds = settings.quick ? 1 : 3;

function makeProblem(configuration: Configuration): Problem {
  const { numTokens, numTopk, numExperts, routing } = configuration;
  const int32 = makeRouting(routing, numTokens, numTopk, numExperts);
  return { configuration, int32, int64: widen(int32) };
}

/** The same ids as int64. They are written half by half, which is a hundred times faster than making BigInts. */
function widen(ids: Int32Array): BigInt64Array {
  const halves = new Int32Array(2 * ids.length);
  for (let i = 0; i < ids.length; i++) {
    halves[2 * i] = ids[i];
    halves[2 * i + 1] = ids[i] >> 31;
  }
  return new BigInt64Array(halves.buffer);
}

function expectedLayout({ configuration, int32 }: Problem): ExpectedLayout {
  const { numTokens, numTopk, numExperts, numRanks } = configuration;
  const topkIdx = { data: int32, shape: [numTokens, numTopk] as const };
  if (numTokens <= maxOracleTokens) {
    const expected = answer({ rows: rowsOf(topkIdx), numExperts, numRanks });
    if ('layout' in expected) return expected.layout;
    throw new Error('the oracle refuses the routing of the benchmark');
  }
  const layout = new ExpertGroup({ numRanks, device: 'js' }).getDispatchLayout(topkIdx, numExperts);
  const arrays: unknown = forOutputs((name) => layout[name]);
  return arrays as ExpectedLayout;
}

/** Checks every variant, then times them in turn. */
function measure(configuration: Configuration, chosen: readonly string[], rounds: number): Seconds {
  const problem = makeProblem(configuration);
  const entries = chosen
    .filter((name) => name in variants)
    .map((name) => ({ name, prepared: variants[name].variant(problem), samples: [] as number[] }));
  const expected = expectedLayout(problem);
  for (const { name, prepared } of entries) {
    prepared.run();
    try {
      expectArrays(prepared.layout(), expected);
    } catch (cause) {
      throw new Error(`'${name}' computes a wrong layout of ${JSON.stringify(configuration)}`, { cause });
    }
  }
  for (const { prepared } of entries) warmUp(prepared.run);
  for (let round = 0; round < rounds; round++) {
    for (const { prepared, samples } of entries) {
      samples.push(secondsPerRun(prepared.run) / (prepared.layoutsPerRun ?? 1));
    }
  }
  return Object.fromEntries(entries.map(({ name, samples }) => [name, median(samples)]));
}

/** Measures the layouts in Python, and then those in JavaScript that they are compared with. */
function measureInPython(configuration: Configuration): Seconds {
  const problem = makeProblem(configuration);
  const layout = variants[names.call].variant(problem).layout();
  return {
    ...timePython(problem, layout),
    ...measure(configuration, [names.plain, names.newArrays, names.call], numRounds),
  };
}

const all = Object.keys(variants);
const main = [names.plain, names.simple, names.kernel, names.workspace, names.call, names.native];
const over = (list: readonly Configuration[]) =>
  settings.layouts ? [] : list.map((configuration) => measure(configuration, main, 1));

const measurements: Measurements = {
  layouts: configurations.map((configuration) => measure(configuration, all, numRounds)),
  overTokens: over(overTokens),
  overRanks: over(overRanks),
  overExperts: over(overExperts),
  inPython: settings.layouts ? [] : inPython.map(measureInPython),
  variants: Object.fromEntries(Object.entries(variants).map(([name, { description }]) => [name, description])),
};
console.log(JSON.stringify(measurements));
