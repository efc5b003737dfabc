/**
 * Tests on a machine without a GPU: the addon over a made-up driver (`test/cuda-fake`), with the real kernel on the CPU,
 * in a process of their own, since a process probes its devices once.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { assert } from 'chai';
import { root } from '../support/root.ts';
import { fakeAddon } from './fake.ts';

/**
 * Runs test files there as the device `cuda`, all of which must pass.
 *
 * @param share of the random requests of the conformance suite.
 */
export function passOnTheFake(files: readonly string[], share = 1): void {
  const args = ['--reporter=spec', '--no-config', '--import=tsx/esm', '--timeout=120000', ...files];
  const { status, stdout } = spawnSync(process.execPath, ['node_modules/mocha/bin/mocha.js', ...args], {
    cwd: root,
    encoding: 'utf8',
    env: {
      ...process.env,
      DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(),
      DISPATCH_LAYOUT_TEST_DEVICES: 'cuda',
      DISPATCH_LAYOUT_TEST_RUNS: String(share * Number(process.env.DISPATCH_LAYOUT_TEST_RUNS ?? 1)),
      NODE_V8_COVERAGE: '',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  assert.strictEqual(status, 0, stdout);
  assert.match(stdout, /\d+ passing/);
  // But for the real traces, where their files are missing
  assert.notMatch(stdout, /not available here/);
}
