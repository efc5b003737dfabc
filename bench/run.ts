/**
 * `./build.sh bench`: how long one layout takes, whole public call with reused `out`, side by side in one process.
 *
 * Every variant is checked against the oracle of the conformance suite before anything is timed. The machine's clock
 * wanders, so the variants take turns, and what counts is the ratio of their medians.
 *
 * @module
 */
import { cpus } from 'node:os';
import Benchmark from 'benchmark';
import { type DeviceName, ExpertGroup, type LayoutArrays } from 'dispatch-layout';
import { answer, rowsOf } from '../test/conformance/oracle.ts';
import { expectArrays } from '../test/support/expect.ts';
import { bareLoop } from './bare-loop.ts';
import { randomRouting } from './routing.ts';

interface Configuration {
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
}

interface Ids {
  readonly int64: BigInt64Array;
  readonly int32: Int32Array;
}

/** Makes the function to time: it returns the arrays that it has written. */
type Variant = (configuration: Configuration, ids: Ids) => () => LayoutArrays;

const configurations: readonly Configuration[] = [
  { numTokens: 128, numTopk: 8, numExperts: 256, numRanks: 8 },
  { numTokens: 4096, numTopk: 8, numExperts: 256, numRanks: 8 },
  { numTokens: 4096, numTopk: 8, numExperts: 256, numRanks: 64 },
  { numTokens: 8192, numTopk: 8, numExperts: 288, numRanks: 32 },
  { numTokens: 65536, numTopk: 8, numExperts: 256, numRanks: 64 },
  { numTokens: 4096, numTopk: 6, numExperts: 64, numRanks: 8 },
  { numTokens: 4096, numTopk: 2, numExperts: 8, numRanks: 8 },
  { numTokens: 4096, numTopk: 10, numExperts: 512, numRanks: 64 },
  { numTokens: 16384, numTopk: 8, numExperts: 1024, numRanks: 256 },
];

const baseline = 'js int32';

const variants: Readonly<Record<string, Variant>> = {
  'js int64': publicCall('js', 'int64', true),
  [baseline]: publicCall('js', 'int32', true),
  'bare loop int32': ({ numTopk, numExperts, numRanks }, { int32 }) => {
    const group = new ExpertGroup({ numRanks });
    const out = group.getDispatchLayout({ data: int32, shape: [int32.length / numTopk, numTopk] }, numExperts);
    return () => {
      bareLoop(int32, numTopk, numExperts, numRanks, out);
      return out;
    };
  },
  'wasm int64': publicCall('wasm', 'int64', true),
  'wasm int32': publicCall('wasm', 'int32', true),
  'wasm int64, new arrays': publicCall('wasm', 'int64', false),
};

const numRounds = 7;

function publicCall(device: DeviceName, idType: keyof Ids, reuse: boolean): Variant {
  return ({ numTokens, numTopk, numExperts, numRanks }, ids) => {
    const group = new ExpertGroup({ numRanks, device });
    const topkIdx = { data: ids[idType], shape: [numTokens, numTopk] };
    const options = reuse ? { out: group.getDispatchLayout(topkIdx, numExperts) } : {};
    return () => group.getDispatchLayout(topkIdx, numExperts, options);
  };
}

/** Median nanoseconds per token of each variant. */
function measure(configuration: Configuration): Map<string, number> {
  const { numTokens, numTopk, numExperts, numRanks } = configuration;
  const int32 = randomRouting(numTokens, numTopk, numExperts);
  const ids = { int32, int64: BigInt64Array.from(int32, BigInt) };
  const runs = Object.entries(variants).map(([name, variant]) => ({ name, run: variant(configuration, ids) }));
  const expected = answer({ rows: rowsOf({ data: int32, shape: [numTokens, numTopk] }), numExperts, numRanks });
  if (!('layout' in expected)) throw new Error('the oracle refuses the routing of the benchmark');
  for (const { run } of runs) expectArrays(run(), expected.layout);

  const seconds = new Map(runs.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < numRounds; round++) {
    for (const { name, run } of runs) {
      const benchmark = new Benchmark(run, { maxTime: 0.1, minSamples: 5 });
      benchmark.run();
      seconds.get(name)?.push(median(benchmark.stats.sample));
    }
  }
  return new Map([...seconds].map(([name, values]) => [name, (median(values) / configuration.numTokens) * 1e9]));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

console.log(`${cpus()[0]?.model ?? 'unknown processor'}, Node.js ${process.versions.node}, V8 ${process.versions.v8}`);
console.log(
  `Whole public call, ns per token (and times faster than '${baseline}'), medians of ${numRounds} rounds in turn\n`,
);
console.log(['T, K, E, R'.padEnd(20), ...Object.keys(variants).map((name) => name.padStart(24))].join(''));
for (const configuration of configurations) {
  const results = measure(configuration);
  const plain = results.get(baseline) ?? Number.NaN;
  const cells = [...results.values()].map((ns) => `${ns.toFixed(1)} (${(plain / ns).toFixed(1)}x)`.padStart(24));
  console.log([Object.values(configuration).join(', ').padEnd(20), ...cells].join(''));
}
