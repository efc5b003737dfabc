/**
 * The process that reads the cases of the fuzzer, so that one that runs forever or out of memory harms nobody else. It
 * writes the number of the case to a file before it reads it, and a line for each failure to another file.
 *
 * @module
 */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { RoutingSource } from '../../../ts/routing/index.ts';
import { type Case, Cases } from './cases.ts';
import { readTwice } from './read-twice.ts';

/** What the process is told to do. */
export interface WorkerTask {
  readonly random: number;
  /** The first case, and the one behind the last. */
  readonly first: number;
  readonly end: number;
  /** A folder of its own. */
  readonly folder: string;
  /** How many seconds of computing a case may take, and how many MiB the process. */
  readonly maxSeconds: number;
  readonly maxMebibytes: number;
}

/** A case that failed. */
export interface Failure {
  readonly number: number;
  readonly problem: string;
}

/** The files in the folder of a worker. */
export const filesIn = (folder: string) => ({
  current: join(folder, 'current'),
  failures: join(folder, 'failures'),
  executed: join(folder, 'executed'),
});

/** The exit code of a process that has taken too much memory: the case is tried again in a process of its own. */
export const outOfMemoryCode = 9;

const fileName = 'fuzzed file';

/** A way to open a case as often as wanted. */
function opener({ file, directory, kind }: Case, folder: string): { open: () => RoutingSource; name: string } {
  if (kind === 'bytes') return { open: () => file, name: fileName };
  if (kind === 'blob') return { open: () => new Blob([Uint8Array.from(file)]), name: fileName };
  if (kind === 'stream') return { open: () => chunksOf(file), name: fileName };
  if (directory === undefined) {
    const path = join(folder, fileName);
    writeFileSync(path, file);
    return { open: () => path, name: path };
  }
  const path = join(folder, 'fuzzed directory');
  rmSync(path, { recursive: true, force: true });
  mkdirSync(path);
  for (const [name, bytes] of Object.entries({ ...directory.others, [directory.name]: file })) {
    writeFileSync(join(path, name), bytes);
  }
  return { open: () => path, name: path };
}

async function* chunksOf(file: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < file.length; at += 1000) yield file.subarray(at, at + 1000);
}

/** The most memory that this process had, in MiB; 0 where the system does not say. */
export function peakMebibytes(): number {
  if (!existsSync('/proc/self/status')) return 0;
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]) / 1024;
}

async function work({ random, first, end, folder, maxSeconds, maxMebibytes }: WorkerTask): Promise<number> {
  const { current, failures, executed } = filesIn(folder);
  const cases = new Cases(random, executed);
  const file = openSync(current, 'w');
  const numberBytes = new Float64Array(1);
  for (let number = first; number < end; number++) {
    numberBytes[0] = number;
    writeSync(file, new Uint8Array(numberBytes.buffer), 0, 8, 0);
    const fail = (problem: string): void => appendFileSync(failures, `${JSON.stringify({ number, problem })}\n`);
    const each = cases.get(number);
    const { open, name } = opener(each, folder);
    const start = process.cpuUsage();
    try {
      await readTwice(open, { ...each.options, name: fileName }, name);
    } catch (error) {
      fail(error instanceof Error ? (error.stack ?? error.message) : `something that is no error is thrown: ${error}`);
    }
    const { user, system } = process.cpuUsage(start);
    const seconds = (user + system) / 1e6;
    if (seconds > maxSeconds) fail(`it takes ${seconds.toFixed(1)} seconds`);
    if (existsSync(executed)) {
      fail('something in it was executed');
      rmSync(executed);
    }
    const mebibytes = peakMebibytes();
    if (mebibytes <= maxMebibytes) continue;
    if (end - first === 1) fail(`it takes ${mebibytes.toFixed(0)} MiB`);
    else return outOfMemoryCode;
  }
  return 0;
}

if (process.argv[2] !== undefined && import.meta.filename === process.argv[1]) {
  process.exitCode = await work(JSON.parse(process.argv[2]));
}
