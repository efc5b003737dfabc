/**
 * Fuzzes every reader of routing through `openRouting`, as a user calls it: makes files of sound ones, and reads them in
 * processes that are watched. `./build.sh fuzz SECONDS routing` runs it.
 *
 * @module
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Cases } from './fuzz/cases.ts';
import { type Failure, filesIn, outOfMemoryCode, type WorkerTask } from './fuzz/worker.ts';

/** What a case may take. Node.js with the compiler of TypeScript takes 80 MiB by itself. */
const limits = { maxSeconds: 2, maxMebibytes: 400, maxHeapMebibytes: 256 };
/** After so many seconds a case is taken to run forever. Other processes may take their share of them. */
const maxWallSeconds = 20;
/** No more failures are looked for after these. */
const maxFailures = 10;

/** What came of fuzzing. */
export interface FuzzOutcome {
  readonly numCases: number;
  readonly failures: readonly Failure[];
}

/**
 * Reads case after case until the time is over, or as many have failed as people look at. Those that are cut off are all
 * read, however long it takes.
 *
 * @param random the seed of the random cases.
 * @param only the number of the only case to read.
 */
export async function fuzzRouting(seconds: number, random: number, only?: number): Promise<FuzzOutcome> {
  const { numCut } = new Cases(random, '/nowhere');
  const folder = mkdtempSync(join(tmpdir(), 'dispatch-layout-fuzz-'));
  const failures: Failure[] = [];
  const deadline = performance.now() + 1000 * seconds;
  try {
    const run = (first: number, end: number): Promise<{ last: number; code: number | null }> =>
      runWorker({ random, first, end, folder, ...limits }, deadline, numCut, failures);
    if (only !== undefined) {
      await run(only, only + 1);
      return { numCases: 1, failures };
    }
    let next = 0;
    while ((performance.now() < deadline || next < numCut) && failures.length < maxFailures) {
      const { last, code } = await run(next, 2 ** 32);
      // Memory of the cases before may not have been collected yet
      if (code === outOfMemoryCode) await run(last, last + 1);
      next = last + 1;
    }
    return { numCases: next, failures };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Runs a process until it ends, the time is over, or a case fails in a way that ends the process. */
async function runWorker(
  task: WorkerTask,
  deadline: number,
  numCut: number,
  failures: Failure[],
): Promise<{ last: number; code: number | null }> {
  const files = filesIn(task.folder);
  writeFileSync(files.failures, '');
  writeFileSync(files.current, '');
  const worker = fileURLToPath(new URL('fuzz/worker.ts', import.meta.url));
  const flags = ['--import=tsx/esm', `--max-old-space-size=${limits.maxHeapMebibytes}`];
  const child = spawn(process.execPath, [...flags, worker, JSON.stringify(task)], {
    env: { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr = `${stderr}${chunk}`.slice(-4000);
  });
  const current = (): number => {
    const bytes = existsSync(files.current) ? readFileSync(files.current) : Buffer.alloc(0);
    return bytes.length < 8 ? task.first : bytes.readDoubleLE();
  };
  let last = task.first;
  let since = performance.now();
  let killedBecause: string | null = null;
  const watch = setInterval(() => {
    const now = performance.now();
    const number = current();
    if (number !== last) [last, since] = [number, now];
    const mebibytes = residentMebibytes(child.pid);
    if (now - since > 1000 * maxWallSeconds) killedBecause = `it has not ended after ${maxWallSeconds} seconds`;
    else if (mebibytes > 4 * limits.maxMebibytes) killedBecause = `it takes more than ${mebibytes.toFixed(0)} MiB`;
    else if ((now < deadline || number < numCut) && numLines(files.failures) < maxFailures) return;
    child.kill('SIGKILL');
  }, 50);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  clearInterval(watch);
  last = current();
  for (const line of readFileSync(files.failures, 'utf8').split('\n').filter(Boolean)) failures.push(JSON.parse(line));
  if (killedBecause !== null) failures.push({ number: last, problem: killedBecause });
  else if (code !== null && code !== 0 && code !== outOfMemoryCode) {
    failures.push({ number: last, problem: `the process ended with ${code}: ${stderr}` });
  }
  return { last, code };
}

function numLines(path: string): number {
  return readFileSync(path, 'latin1').split('\n').length - 1;
}

/** The memory that a process has, in MiB; 0 where the system does not say. */
function residentMebibytes(pid: number | undefined): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) / 1024;
  } catch {
    // The process has ended, or this is not Linux.
    return 0;
  }
}

/** What is needed to repeat a failure. */
export function describeFailure({ number, problem }: Failure, random: number): string {
  const { origin, file, directory, kind, options } = new Cases(random, '/nowhere').get(number);
  const where = directory === undefined ? kind : `${directory.name} in a directory`;
  const shown = file.length <= 6000 ? `\nbase64: ${Buffer.from(file).toString('base64')}` : '';
  return `case ${number} of seed ${random}, made of ${origin}, ${file.length} bytes, read as ${where} with ${JSON.stringify(options)}\n${problem}${shown}`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' }, case: { type: 'string' } },
  });
  const random = Number(values.seed ?? Date.now() % 2 ** 31);
  const only = values.case === undefined ? undefined : Number(values.case);
  console.log(`Fuzzing the readers of routing for ${values.seconds} seconds with the seed ${random}`);
  const { numCases, failures } = await fuzzRouting(Number(values.seconds), random, only);
  for (const failure of failures) {
    console.log(`\nFAILED: ${describeFailure(failure, random)}`);
    const folder = fileURLToPath(new URL('../../build/', import.meta.url));
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      join(folder, `fuzz-routing-${failure.number}`),
      new Cases(random, '/nowhere').get(failure.number).file,
    );
  }
  console.log(
    `${numCases} files were read, ${failures.length} failed. node --import=tsx test/routing/fuzz.ts --seed ${random} --case N repeats one`,
  );
  process.exitCode = failures.length === 0 ? 0 : 1;
}

if (import.meta.filename === process.argv[1]) await main();
