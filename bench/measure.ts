/**
 * One process of the benchmark: measures everything, the variants taking turns, and prints one JSON object. Started by
 * run.ts; `--layouts` measures only what expectations are about, `--quick` in one round instead of three.
 *
 * @module
 */
import { parseArgs } from 'node:util';
import { ExpertGroup } from 'dispatch-layout';
import { answer, type ExpectedLayout, forOutputs, rowsOf } from '../test/conformance/oracle.ts';
import { expectArrays } from '../test/support/expect.ts';
import {
  type Configuration,
  configurations,
  histogramConfiguration,
  overExperts,
  overRanks,
  overTokens,
} from './configurations.ts';
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
  /** Seconds per histogram. */
  readonly histograms: Seconds;
  /** What each variant is. */
  readonly variants: Readonly<Record<string, string>>;
}

/** The oracle keeps every id as an object: beyond so many tokens the `js` device, which it has checked, stands in. */
const maxOracleTokens = 100_000;

const { values: settings } = parseArgs({ options: { layouts: { type: 'boolean' }, quick: { type: 'boolean' } } });
const numRounds = settings.quick ? 1 : 3;

function makeProblem(configuration: Configuration): Problem {
  const { numTokens, numTopk, numExperts, routing } = configuration;
  const int32 = makeRouting(routing, numTokens, numTopk, numExperts);
  return { configuration, int32, int64: widen(int32) };
}

/** The same ids as int64, half by half: a hundred times faster than by way of BigInts. */
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
    .filter(
      (name) => name in variants && configuration.numRanks <= (variants[name].maxRanks ?? Number.POSITIVE_INFINITY),
    )
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

async function measureHistograms(): Promise<Seconds> {
  const { numpyHistogram, tfjsHistogram } = await import('./libraries/histogram.ts');
  const problem = makeProblem(histogramConfiguration);
  const { numTokensPerExpert } = expectedLayout(problem);
  const histograms = { tfjs: await tfjsHistogram(problem), numpy: await numpyHistogram(problem) };
  const seconds: Record<string, number> = {};
  for (const [name, histogram] of Object.entries(histograms)) {
    if (histogram === undefined) continue;
    if (Array.from(histogram.counts).join() !== numTokensPerExpert.join()) throw new Error(`${name} counts wrongly`);
    const samples: number[] = [];
    for (let round = 0; round < numRounds; round++) samples.push(await histogram.sample());
    seconds[name] = median(samples);
    histogram.close();
  }
  return seconds;
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
  histograms: settings.layouts ? {} : await measureHistograms(),
  variants: Object.fromEntries(Object.entries(variants).map(([name, { description }]) => [name, description])),
};
console.log(JSON.stringify(measurements));
