/**
 * `./build.sh bench` measures in several processes, writes `bench/results/benchmarks.json`, and from that
 * `docs/benchmarks.md` with its plots.
 *
 *   --quick          measures the layouts in one short process and prints them; writes nothing
 *   --check          measures the layouts, and fails if a ratio falls short of `bench/expectations.json`
 *   --expect         makes the ratios of the last results the new expectations
 *   --report         makes the document anew from the last results
 *   --processes N    default 5
 *   --calls          measures calls with tensors, without a GPU (`bench/calls`), and does nothing else
 *
 * The layouts in Python are measured with the `python3` of the PATH, as far as it has numpy and PyTorch.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { checkExpectations, type Expectations, expectationsOf } from './check.ts';
import { plots } from './libraries/plots.ts';
import { describeMachine } from './machine.ts';
import type { Measurements } from './measure.ts';
import { layoutsTable, ratiosTable, report } from './report.ts';
import { combine, type FirstCall, format, type HeldMemory, type Results } from './results.ts';
import { measureSizes } from './sizes.ts';
import { median } from './statistics.ts';

const resultsFile = new URL('results/benchmarks.json', import.meta.url);
const expectationsFile = new URL('expectations.json', import.meta.url);
const docs = new URL('../docs/', import.meta.url);

/** The share by which a ratio may fall short of what is expected, because machines and their noise differ. */
const tolerance = 0.25;

/** The number of processes that measure more than the layouts. It is small, because this takes most of the time. */
const maxFullProcesses = 3;

const { values: settings } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    check: { type: 'boolean' },
    expect: { type: 'boolean' },
    report: { type: 'boolean' },
    processes: { type: 'string', default: '5' },
  },
});
const numProcesses = Number(settings.processes);
if (!Number.isInteger(numProcesses) || numProcesses < 1) {
  throw new RangeError(`--processes is '${settings.processes}'; it must be an integer, 1 or more`);
}

if (settings.report) await writeReport(readResults());
else if (settings.expect) writeJson(expectationsFile, expectationsOf(readResults().layouts, tolerance));
else if (settings.check) check();
else if (settings.quick) print(measure(1, ['--layouts', '--quick']));
else await measureAll();

async function measureAll(): Promise<void> {
  const machine = describeMachine();
  const date = new Date().toISOString();
  const measured = measure(numProcesses, [], maxFullProcesses);
  const results: Results = {
    format,
    date,
    machine,
    ...measured,
    firstCalls: {
      import: medians<FirstCall>(20, [script('first-call.mjs'), 'import']),
      require: medians<FirstCall>(20, [script('first-call.mjs'), 'require']),
    },
    heldMemory: medians<HeldMemory>(7, ['--expose-gc', script('held-memory.mjs')]),
    sizes: await measureSizes(),
  };
  writeJson(resultsFile, results);
  await writeReport(results);
  print(measured);
  console.log(`\nThe rest is in ${fileURLToPath(new URL('benchmarks.md', docs))}`);
}

function check(): void {
  const findings = checkExpectations(
    readJson<Expectations>(expectationsFile),
    measure(numProcesses, ['--layouts']).layouts,
  );
  for (const { configuration, faster, than, ratio, measured, isMet } of findings) {
    const verdict = isMet ? 'ok  ' : 'SLOW';
    console.log(`${verdict} ${configuration}: '${faster}' ${measured.toFixed(2)} times '${than}', expected ${ratio}`);
  }
  const numMissed = findings.filter(({ isMet }) => !isMet).length;
  console.log(`${findings.length - numMissed} of ${findings.length} ratios as expected`);
  if (numMissed > 0) process.exitCode = 1;
}

/** Runs the measuring processes, one after the other. Those after the first `maxFull` measure the layouts only. */
function measure(count: number, flags: readonly string[], maxFull = count) {
  const processes = Array.from({ length: count }, (_, index) => {
    console.error(`Measuring, process ${index + 1} of ${count}`);
    const flagsOfProcess = index < maxFull ? flags : [...flags, '--layouts'];
    return runNode<Measurements>(['--import=tsx', script('measure.ts'), ...flagsOfProcess]);
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

function print({ layouts }: Pick<Results, 'layouts'>): void {
  console.log(`\nNanoseconds per token\n\n${layoutsTable(layouts)}\n\nTimes faster\n\n${ratiosTable(layouts)}`);
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
