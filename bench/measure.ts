/**
 * One process of the benchmark, which run.ts starts with the names of the lists to measure. It measures each with the
 * variants in turn, and prints one JSON object. With `--quick`, it measures one round instead of three.
 *
 * @module
 */
import { parseArgs } from 'node:util';
import { ExpertGroup, getExpertPermutation } from 'dispatch-layout';
import { answer, type ExpectedLayout, forOutputs, rowsOf } from '../test/conformance/oracle.ts';
import { expertOrder, rankOrder } from '../test/conformance/permutation-oracle.ts';
import { expectArrays, expectNumbers } from '../test/support/expect.ts';
import { type Configuration, type ListName, listNames, lists } from './configurations.ts';
import { timePythonLayout, timePythonOrder } from './libraries/python.ts';
import { makeRouting } from './routing.ts';
import { median } from './statistics.ts';
import { secondsPerRun, warmUp } from './time.ts';
import { variants } from './variants/index.ts';
import { names } from './variants/names.ts';
import { arraysOf, type OrderKind, orderNames } from './variants/order.ts';
import { orderVariants } from './variants/orders.ts';
import type { Prepared, Problem } from './variants/variant.ts';

/** Seconds per result of each variant. */
type Seconds = Readonly<Record<string, number>>;

/** What a process prints. A list is in the order of its configurations, or empty if it was not measured. */
export interface Measurements extends Readonly<Record<ListName, readonly Seconds[]>> {
  /** What each variant is. */
  readonly variants: Readonly<Record<string, string>>;
  /** What each variant of the orders of rows is. */
  readonly orderVariants: Readonly<Record<string, string>>;
}

/**
 * The largest number of tokens that the oracle is asked about, since it makes an object of every id. For more tokens,
 * the `js` device, which the oracle has checked on fewer, says what is right.
 */
const maxOracleTokens = 100_000;

const { values: settings, positionals: asked } = parseArgs({
  options: { quick: { type: 'boolean' } },
  allowPositionals: true,
});
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

function topkIdxOf({ configuration, int32 }: Problem) {
  return { data: int32, shape: [configuration.numTokens, configuration.numTopk] as const };
}

function expectedLayout(problem: Problem): ExpectedLayout {
  const { numTokens, numExperts, numRanks } = problem.configuration;
  const topkIdx = topkIdxOf(problem);
  if (numTokens <= maxOracleTokens) {
    const expected = answer({ rows: rowsOf(topkIdx), numExperts, numRanks });
    if ('layout' in expected) return expected.layout;
    throw new Error('the oracle refuses the routing of the benchmark');
  }
  const layout = new ExpertGroup({ numRanks, device: 'js' }).getDispatchLayout(topkIdx, numExperts);
  const arrays: unknown = forOutputs((name) => layout[name]);
  return arrays as ExpectedLayout;
}

function expectedOrder(kind: OrderKind, problem: Problem): readonly ArrayLike<number>[] {
  const { numTokens, numExperts, numRanks } = problem.configuration;
  const topkIdx = topkIdxOf(problem);
  if (numTokens <= maxOracleTokens) {
    const rows = rowsOf(topkIdx);
    const expected =
      kind === 'byExpert' ? expertOrder({ rows, numExperts }) : rankOrder({ rows, numExperts, numRanks });
    if ('order' in expected) return arraysOf(kind, expected.order);
    throw new Error('the oracle refuses the routing of the benchmark');
  }
  const order =
    kind === 'byExpert'
      ? getExpertPermutation(topkIdx, numExperts, { device: 'js' })
      : new ExpertGroup({ numRanks, device: 'js' }).getRankPermutation(topkIdx, numExperts);
  return arraysOf(kind, order);
}

/** A variant that is ready, and a check of what it has computed. */
interface Candidate {
  readonly name: string;
  readonly prepared: Prepared<unknown>;
  check(): void;
}

function layoutCandidates(problem: Problem, chosen: Readonly<Record<string, string>>): Candidate[] {
  const expected = expectedLayout(problem);
  return Object.entries(chosen)
    .filter(([, name]) => name in variants)
    .map(([title, name]) => {
      const prepared = variants[name].variant(problem);
      return { name: title, prepared, check: () => expectArrays(prepared.result(), expected) };
    });
}

function orderCandidates(kind: OrderKind, problem: Problem, chosen: readonly string[]): Candidate[] {
  const expected = expectedOrder(kind, problem);
  return chosen.map((name) => {
    const prepared = orderVariants[name].variant(kind)(problem);
    const check = () => {
      const arrays = prepared.result();
      for (const [i, array] of orderNames[kind].entries()) expectNumbers(array, arrays[i], expected[i]);
    };
    return { name, prepared, check };
  });
}

/** Checks every candidate, then times them in turn. */
function time(candidates: readonly Candidate[], configuration: Configuration, rounds: number): Seconds {
  for (const { name, prepared, check } of candidates) {
    prepared.run();
    try {
      check();
    } catch (cause) {
      throw new Error(`'${name}' computes a wrong result for ${JSON.stringify(configuration)}`, { cause });
    }
  }
  const entries = candidates.map(({ name, prepared }) => ({ name, prepared, samples: [] as number[] }));
  for (const { prepared } of entries) warmUp(prepared.run);
  for (let round = 0; round < rounds; round++) {
    for (const { prepared, samples } of entries) {
      samples.push(secondsPerRun(prepared.run) / (prepared.resultsPerRun ?? 1));
    }
  }
  return Object.fromEntries(entries.map(({ name, samples }) => [name, median(samples)]));
}

const layouts = (chosen: readonly string[], rounds: number) => (configuration: Configuration) =>
  time(
    layoutCandidates(makeProblem(configuration), Object.fromEntries(chosen.map((name) => [name, name]))),
    configuration,
    rounds,
  );

/** Orders, and the layouts that they are compared with. */
const orders = (kind: OrderKind) => (configuration: Configuration) => {
  const problem = makeProblem(configuration);
  const beside = { [names.layoutKernel]: names.kernel, [names.layoutCall]: names.call };
  const candidates = [
    ...orderCandidates(kind, problem, Object.keys(orderVariants)),
    ...layoutCandidates(problem, beside),
  ];
  return time(candidates, configuration, numRounds);
};

/** Measures layouts in Python, and then those in JavaScript that they are compared with. */
function layoutsInPython(configuration: Configuration): Seconds {
  const problem = makeProblem(configuration);
  const layout = variants[names.call].variant(problem).result();
  return {
    ...timePythonLayout(problem, layout),
    ...layouts([names.plain, names.newArrays, names.call], numRounds)(configuration),
  };
}

/** Measures orders in Python, and then those in JavaScript that they are compared with. */
const ordersInPython = (kind: OrderKind) => (configuration: Configuration) => {
  const problem = makeProblem(configuration);
  const order = orderVariants[names.call].variant(kind)(problem).result();
  const candidates = orderCandidates(kind, problem, [names.plainOnly, names.newArrays, names.call]);
  return { ...timePythonOrder(kind, problem, order), ...time(candidates, configuration, numRounds) };
};

const main = [names.plain, names.simple, names.kernel, names.workspace, names.call, names.native];
const ways: Readonly<Record<ListName, (configuration: Configuration) => Seconds>> = {
  layouts: layouts(Object.keys(variants), numRounds),
  overTokens: layouts(main, 1),
  overRanks: layouts(main, 1),
  overExperts: layouts(main, 1),
  inPython: layoutsInPython,
  byExpert: orders('byExpert'),
  byRank: orders('byRank'),
  byExpertInPython: ordersInPython('byExpert'),
  byRankInPython: ordersInPython('byRank'),
};

const measured = listNames.map((list) => [list, asked.includes(list) ? lists[list].map(ways[list]) : []]);
const descriptions = (table: Readonly<Record<string, { readonly description: string }>>) =>
  Object.fromEntries(Object.entries(table).map(([name, { description }]) => [name, description]));
const measurements: Measurements = {
  ...(Object.fromEntries(measured) as Record<ListName, Seconds[]>),
  variants: descriptions(variants),
  orderVariants: descriptions(orderVariants),
};
console.log(JSON.stringify(measurements));
