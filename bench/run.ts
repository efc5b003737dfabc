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
import { type DeviceName, ExpertGroup, type IntegerArray } from 'dispatch-layout';
import { answer, rowsOf } from '../test/conformance/oracle.ts';
import { expectAnswer } from '../test/support/expect.ts';
import { randomRouting } from './routing.ts';

interface Configuration {
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
}

interface Variant {
  readonly name: string;
  readonly device: DeviceName;
  readonly idType: 'int64' | 'int32';
  readonly reuse: boolean;
}

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

const variants: readonly Variant[] = [
  { name: 'js int64', device: 'js', idType: 'int64', reuse: true },
  { name: baseline, device: 'js', idType: 'int32', reuse: true },
  { name: 'wasm int64', device: 'wasm', idType: 'int64', reuse: true },
  { name: 'wasm int32', device: 'wasm', idType: 'int32', reuse: true },
  { name: 'wasm int64, new arrays', device: 'wasm', idType: 'int64', reuse: false },
];

const numRounds = 7;

function prepare(
  configuration: Configuration,
  ids: Readonly<Record<'int64' | 'int32', IntegerArray>>,
  variant: Variant,
) {
  const { numTokens, numTopk, numExperts, numRanks } = configuration;
  const group = new ExpertGroup({ numRanks, device: variant.device });
  const topkIdx = { data: ids[variant.idType], shape: [numTokens, numTopk] };
  const first = group.getDispatchLayout(topkIdx, numExperts);
  const options = variant.reuse ? { out: first } : {};
  return () => group.getDispatchLayout(topkIdx, numExperts, options);
}

/** Median nanoseconds per token of each variant. */
function measure(configuration: Configuration): Map<string, number> {
  const { numTokens, numTopk, numExperts, numRanks } = configuration;
  const int32 = randomRouting(numTokens, numTopk, numExperts);
  const ids = { int32, int64: BigInt64Array.from(int32, BigInt) };
  const runs = variants.map((variant) => ({ name: variant.name, run: prepare(configuration, ids, variant) }));
  const expected = answer({ rows: rowsOf({ data: int32, shape: [numTokens, numTopk] }), numExperts, numRanks });
  for (const { run } of runs) expectAnswer(run, expected);

  const seconds = new Map(variants.map(({ name }) => [name, [] as number[]]));
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
console.log(['T, K, E, R'.padEnd(20), ...variants.map(({ name }) => name.padStart(24))].join(''));
for (const configuration of configurations) {
  const results = measure(configuration);
  const plain = results.get(baseline) ?? Number.NaN;
  const cells = [...results.values()].map((ns) => `${ns.toFixed(1)} (${(plain / ns).toFixed(1)}x)`.padStart(24));
  console.log([Object.values(configuration).join(', ').padEnd(20), ...cells].join(''));
}
