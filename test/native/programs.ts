/**
 * The programs with the source of the WASM kernel in them, which `build.sh` beside this file compiles for this machine.
 *
 * @module
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { assert } from 'chai';
import { root } from '../support/root.ts';

/** What keeps them from being built on this machine, or null. */
function obstacle(): string | null {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return 'its tables need the low memory of Linux on x86-64';
  const compiler = process.env.CXX ?? 'g++';
  const { error, status } = spawnSync(compiler, ['-fsyntax-only', '-x', 'c++', '-'], {
    input: '#include <simde/wasm/simd128.h>',
  });
  if (error !== undefined) return `there is no ${compiler} here`;
  return status === 0 ? null : `${compiler} finds no SIMDe. To run this, install libsimde-dev`;
}

/** Declares tests that run these programs. If they cannot be built, the tests are skipped, with the reason. */
export function describeNative(title: string, programs: readonly string[], declare: () => void): void {
  describe(title, function () {
    const reason = obstacle();
    if (reason !== null) {
      it.skip(`not available here, because ${reason}`);
      return;
    }
    this.timeout(300_000);
    before(() => {
      execFileSync(`${root}test/native/build.sh`, programs, { stdio: ['ignore', 'ignore', 'inherit'] });
    });
    declare();
  });
}

/** What a program prints. It must succeed. */
export function runNative(program: string, settings: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync(`${root}build/native/${program}`, settings, { input, encoding: 'utf8' });
  assert.strictEqual(status, 0, stdout + stderr);
  return stdout;
}
