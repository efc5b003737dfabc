/**
 * Runs the built command as a user would, and checks what a failure looks like.
 *
 * @module
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';

/** The command. An environment variable can name another one, such as that of an installed package. */
export const commandPath: string =
  process.env.DISPATCH_LAYOUT_COMMAND ?? fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** The environment without what the test runner passes to its own Node.js. */
const environment: NodeJS.ProcessEnv = { ...process.env, NODE_OPTIONS: '' };

/** Runs `dispatch-layout` with these arguments. A command that hangs is killed, and has no exit code then. */
export function dispatchLayout(
  args: readonly string[],
  stdin: string | Uint8Array = '',
  variables: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [commandPath, ...args], {
      env: { ...environment, ...variables },
      timeout: 20_000,
      killSignal: 'SIGKILL',
    });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, stdout: Buffer.concat(stdout), stderr: Buffer.concat(stderr).toString() });
    });
    // A command that fails early need not read its input.
    child.stdin.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') reject(error);
    });
    child.stdin.end(stdin);
  });
}

/** Runs a command that must succeed quietly. Returns what it printed. */
export async function succeed(
  args: readonly string[],
  stdin?: string | Uint8Array,
  variables?: Readonly<Record<string, string>>,
): Promise<string> {
  const { code, stdout, stderr } = await dispatchLayout(args, stdin, variables);
  assert.strictEqual(stderr, '', args.join(' '));
  assert.strictEqual(code, 0, args.join(' '));
  return stdout.toString();
}

/** Checks that a command refused its input: one line on standard error, exit code 2, and nothing else. */
export function expectRefusal(finished: Finished, message: RegExp, what: string): void {
  assert.match(finished.stderr, message, what);
  assert.match(finished.stderr, /^dispatch-layout: [^\n]+\n$/, `${what}: one line`);
  assert.notMatch(finished.stderr, /\n {4}at |undefined|\[object|NaN/, what);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that must not be printed.
  assert.notMatch(finished.stderr.trimEnd(), /[\x00-\x1f\x7f]/, `${what}: nothing controls the terminal`);
  assert.strictEqual(finished.code, 2, what);
  assert.strictEqual(finished.stdout.length, 0, `${what}: nothing on standard output`);
}

/** Runs many cases, two at a time, since a machine has at least two cores. */
export async function forEachInPairs<Case>(
  cases: readonly Case[],
  check: (each: Case) => Promise<void>,
): Promise<void> {
  const waiting = [...cases];
  const work = async (): Promise<void> => {
    for (let each = waiting.shift(); each !== undefined; each = waiting.shift()) await check(each);
  };
  await Promise.all([work(), work()]);
}

/** A folder that is removed after the tests of the enclosing suite. */
export function temporaryFolder(): {
  write(name: string, content: string | Uint8Array): string;
  path(name: string): string;
} {
  const folder = mkdtempSync(join(tmpdir(), 'dispatch-layout-test-'));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return {
    path: (name) => join(folder, name),
    write(name, content) {
      writeFileSync(join(folder, name), content);
      return join(folder, name);
    },
  };
}

/** Runs a Python script, and returns what it printed. The script must succeed. */
export function python(script: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync('python3', ['-c', script, ...args], {
    encoding: 'utf8',
    env: environment,
  });
  assert.strictEqual(status, 0, stderr);
  return stdout;
}

/** Skips a test, or from a hook all of its tests, where this machine has no `python3` with these modules. */
export function requirePython(context: Mocha.Context, modules: string): void {
  if (hasPython(modules)) return;
  console.log(`    SKIPPED: no python3 with ${modules} on this machine`);
  context.skip();
}

/** Whether this machine has `python3` with a module. */
export function hasPython(module: string): boolean {
  return spawnSync('python3', ['-c', `import ${module}`]).status === 0;
}
