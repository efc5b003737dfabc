/**
 * The addon over a made-up driver, and processes that use it.
 *
 * @module
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
let built: string | undefined;

/** The path of the addon, which is built where it is missing or old: with g++ alone, in seconds. */
export function fakeAddon(): string {
  if (built === undefined) {
    execFileSync(`${root}test/cuda-fake/build.sh`, { stdio: ['ignore', 'ignore', 'inherit'] });
    built = `${root}build/cuda-fake/dispatch_layout_cuda.node`;
  }
  return built;
}

/** What a process printed, and how it ended. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a script as an ES module in a process of its own, at the root of the project. */
export function runScript(
  script: string,
  env: Readonly<Record<string, string>>,
  flags: readonly string[] = [],
): Outcome {
  return spawnSync(process.execPath, [...flags, '--input-type=module', '--eval', script], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}
