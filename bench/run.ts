/**
 * `./build.sh bench` measures in several processes, writes `bench/results/benchmarks.json`, and from that
 * `docs/benchmarks.md` with its plots.
 *
 *   --quick          measures layouts and orders of rows in one short process and prints them; writes nothing
 *   --check          measures the same, and fails if a ratio falls short of `bench/expectations.json`
 *   --orders         measures orders of rows only, and puts them into the last results; with --quick or --check, does
 *                    that for orders only
 *   --expect         makes the ratios of the last results the new expectations
 *   --report         makes the document anew from the last results
 *   --processes N    default 5
 *   --calls          measures calls with tensors, without a GPU (`bench/calls`), and does nothing else
 *
 * Python is measured with the `python3` of the PATH, as far as it has numpy and PyTorch.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { checkExpectations, type Expectations, expectationsOf } from './check.ts';
import { type ListName, listNames, mainLists, orderLists } from './configurations.ts';
import { plots } from './libraries/plots.ts';
import { describeMachine } from './machine.ts';
import type { Measurements } from './measure.ts';
import { orderRatiosTable } from './orders-report.ts';
import { layoutRatiosTable, report } from './report.ts';
import {
  combine,
  type FirstCall,
  format,
  type HeldMemory,
  type Measured,
  type OrderResults,
  ordersOf,
  type Results,
} from './results.ts';
import { measureSizes } from './sizes.ts';
import { median } from './statistics.ts';
import { variantsTable } from './tables.ts';

const resultsFile = new URL('results/benchmarks.json', import.meta.url);
const expectationsFile = new URL('expectations.json', import.meta.url);
const docs = new URL('../docs/', import.meta.url);

/** The share by which a ratio may fall short of what is expected, because machines and their noise differ. */
const tolerance = 0.25;

/** The number of processes that measure more than the main lists. It is small, because this takes most of the time. */
const maxFullProcesses = 3;

const { values: settings } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    check: { type: 'boolean' },
    orders: { type: 'boolean' },
    expect: { type: 'boolean' },
    report: { type: 'boolean' },
    processes: { type: 'string', default: '5' },
  },
});
const numProcesses = Number(settings.processes);
if (!Number.isInteger(numProcesses) || numProcesses < 1) {
  throw new RangeError(`--processes is '${settings.processes}'; it must be an integer, 1 or more`);
}

/** What is measured of these lists. */
const chosen = <List extends ListName>(names: readonly List[]) =>
  settings.orders ? names.filter((name) => (orderLists as readonly ListName[]).includes(name)) : names;

if (settings.report) await writeReport(readResults());
else if (settings.expect) writeExpectations(readResults());
else if (settings.check) check();
else if (settings.quick) print(measure(1, chosen(mainLists), ['--quick']));
else if (settings.orders) await measureOrders();
else await measureAll();

async function measureOrders(): Promise<void> {
  const results = readResults();
  const machine = describeMachine();
  const date = new Date().toISOString();
  const measured = measure(numProcesses, orderLists);
  const orders = ordersOf(measured, { date, machine });
  await writeResults({ ...results, orders });
  print(measured);
}

async function measureAll(): Promise<void> {
  const machine = describeMachine();
  const date = new Date().toISOString();
  const measured = measure(numProcesses, listNames);
  const { layouts, overTokens, overRanks, overExperts, inPython, variants } = measured;
  const results: Results = {
    format,
    date,
    machine,
    variants,
    layouts,
    overTokens,
    overRanks,
    overExperts,
    inPython,
    orders: ordersOf(measured, { date, machine }),
    firstCalls: {
      import: medians<FirstCall>(20, [script('first-call.mjs'), 'import']),
      require: medians<FirstCall>(20, [script('first-call.mjs'), 'require']),
    },
    heldMemory: medians<HeldMemory>(7, ['--expose-gc', script('held-memory.mjs')]),
    sizes: await measureSizes(),
  };
  await writeResults(results);
  print(measured);
  console.log(`\nThe rest is in ${fileURLToPath(new URL('benchmarks.md', docs))}`);
}

function check(): void {
  const findings = checkExpectations(
    readJson<Expectations>(expectationsFile),
    measure(numProcesses, chosen(mainLists)),
  );
  for (const { list, configuration, faster, than, ratio, measured, isMet } of findings) {
    const verdict = isMet ? 'ok  ' : 'SLOW';
    console.log(
      `${verdict} ${list}, ${configuration}: '${faster}' ${measured.toFixed(2)} times '${than}', expected ${ratio}`,
    );
  }
  const numMissed = findings.filter(({ isMet }) => !isMet).length;
  console.log(`${findings.length - numMissed} of ${findings.length} ratios as expected`);
  if (numMissed > 0) process.exitCode = 1;
}

function writeExpectations({ layouts, orders: { byExpert, byRank } }: Results): void {
  writeJson(expectationsFile, expectationsOf({ layouts, byExpert, byRank }, tolerance));
}

/** Runs the measuring processes, one after the other. Those after the first few measure the main lists only. */
function measure(count: number, lists: readonly ListName[], flags: readonly string[] = []): Measured {
  const processes = Array.from({ length: count }, (_, index) => {
    console.error(`Measuring, process ${index + 1} of ${count}`);
    const isFull = index < maxFullProcesses;
    const listsOfProcess = lists.filter((name) => isFull || (mainLists as readonly ListName[]).includes(name));
    return runNode<Measurements>(['--import=tsx', script('measure.ts'), ...flags, ...listsOfProcess]);
  });
  return combine(processes);
}

/**
 * Runs a script in `count` processes, each of which prints the same names with numbers. Returns the medians of the
 * numbers.
 */
function medians<Numbers extends object>(count: number, parameters: readonly string[]): Numbers {
  console.error(
    `Measuring ${parameters
      .slice(-2)
      .map((path) => path.replace(/.*\//, ''))
      .join(' ')}`,
  );
  const processes = Array.from({ length: count }, () => runNode<Record<string, number>>(parameters));
  const names = Object.keys(processes[0]);
  return Object.fromEntries(names.map((name) => [name, median(processes.map((numbers) => numbers[name]))])) as Numbers;
}

function runNode<Output>(parameters: readonly string[]): Output {
  const { status, stdout } = spawnSync(process.execPath, parameters, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw new Error(`the process of ${parameters.join(' ')} failed with status ${status}`);
  return JSON.parse(stdout) as Output;
}

function print({
  layouts,
  byExpert,
  byRank,
}: Pick<Results, 'layouts'> & Pick<OrderResults, 'byExpert' | 'byRank'>): void {
  const tables = { Layouts: layouts, 'Orders by expert': byExpert, 'Orders by rank': byRank };
  for (const [title, entries] of Object.entries(tables)) {
    if (entries.length === 0) continue;
    const ratios = entries === layouts ? layoutRatiosTable(entries) : orderRatiosTable(entries);
    console.log(`\n${title}, nanoseconds per token\n\n${variantsTable(entries)}\n\nRatios\n\n${ratios}`);
  }
}

async function writeResults(results: Results): Promise<void> {
  writeJson(resultsFile, results);
  await writeReport(results);
}

async function writeReport(results: Results): Promise<void> {
  writeFileSync(new URL('benchmarks.md', docs), report(results));
  for (const [name, svg] of Object.entries(await plots(results))) writeFileSync(new URL(name, docs), svg);
}

function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

function readResults(): Results {
  const results = readJson<Results>(resultsFile);
  if (results.format !== format) {
    throw new Error(
      `${fileURLToPath(resultsFile)} is of another version of the benchmark; ./build.sh bench makes it anew`,
    );
  }
  return results;
}

function readJson<Content>(file: URL): Content {
  if (!existsSync(file)) throw new Error(`${fileURLToPath(file)} is not there; ./build.sh bench makes it`);
  return JSON.parse(readFileSync(file, 'utf8')) as Content;
}

function writeJson(file: URL, content: unknown): void {
  mkdirSync(new URL('.', file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`);
}
