/**
 * Runs scripts in processes of their own, in which nothing of the library is loaded, compiled or chosen yet.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { assert } from 'chai';
import { root } from './root.ts';

/** What a process printed, and how it ended. */
export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a script in the root of the repository, as an ES module unless a flag says otherwise. */
export function runScript(
  script: string,
  env: Readonly<Record<string, string>> = {},
  flags: readonly string[] = [],
): Outcome {
  return spawnSync(process.execPath, ['--input-type=module', ...flags, '--eval', script], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
}

/** Runs Node.js with an address space of at most this many KiB. Only Linux limits it. */
export function runWithAddresses(kibibytes: number, args: readonly string[]): Outcome {
  const command = `ulimit -v ${kibibytes} && exec "$0" "$@"`;
  return spawnSync('sh', ['-c', command, process.execPath, ...args], {
    cwd: root,
    encoding: 'utf8',
    // Measuring coverage would need additional memory.
    env: { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' },
  });
}

/** What a script prints, without the white space around it. The script must succeed. */
export function printedBy(script: string, env?: Readonly<Record<string, string>>, flags?: readonly string[]): string {
  const { status, stdout, stderr } = runScript(script, env, flags);
  assert.strictEqual(status, 0, stderr);
  return stdout.trim();
}

/** The value that a script prints as JSON. The script must succeed. */
export function jsonOf(script: string, env?: Readonly<Record<string, string>>, flags?: readonly string[]): unknown {
  return JSON.parse(printedBy(script, env, flags));
}
