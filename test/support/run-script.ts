/**
 * Scripts in processes of their own, where nothing of the library is loaded, compiled or chosen yet.
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

/** Runs a script at the root of the repository: as an ES module, unless a flag says otherwise. */
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

/** Runs Node.js with no more than so many KiB of addresses. Only Linux limits these. */
export function runWithAddresses(kibibytes: number, args: readonly string[]): Outcome {
  const command = `ulimit -v ${kibibytes} && exec "$0" "$@"`;
  return spawnSync('sh', ['-c', command, process.execPath, ...args], {
    cwd: root,
    encoding: 'utf8',
    // Coverage needs memory of its own
    env: { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' },
  });
}

/** What a script prints that must succeed, without the white space around it. */
export function printedBy(script: string, env?: Readonly<Record<string, string>>, flags?: readonly string[]): string {
  const { status, stdout, stderr } = runScript(script, env, flags);
  assert.strictEqual(status, 0, stderr);
  return stdout.trim();
}

/** What a script that must succeed prints as JSON. */
export function jsonOf(script: string, env?: Readonly<Record<string, string>>, flags?: readonly string[]): unknown {
  return JSON.parse(printedBy(script, env, flags));
}
