/**
 * Tests of the device `cuda` on a machine without a GPU: the addon runs with a fake CUDA runtime (`test/cuda-fake`),
 * and the real kernel runs on the CPU. The tests have a process of their own, since a process probes its devices only
 * once.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';
import { assert } from 'chai';
import { root } from '../support/root.ts';
import { fakeAddon, otherLibrary } from './fake.ts';

/**
 * Runs test files with the fake GPU as the device `cuda`. All tests must pass.
 *
 * @param share the share of the random requests of the conformance suite that is run.
 * @param settings environment variables, such as those of the fake GPU.
 */
export function passOnTheFake(
  files: readonly string[],
  share = 1,
  settings: Readonly<Record<string, string>> = {},
): void {
  const args = ['--reporter=spec', '--no-config', '--import=tsx/esm', '--timeout=120000', ...files];
  const { status, stdout } = spawnSync(process.execPath, ['node_modules/mocha/bin/mocha.js', ...args], {
    cwd: root,
    encoding: 'utf8',
    env: {
      ...process.env,
      DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(),
      DISPATCH_LAYOUT_TEST_DEVICES: 'cuda',
      DISPATCH_LAYOUT_TEST_OTHER_LIBRARY: otherLibrary(),
      DISPATCH_LAYOUT_TEST_RUNS: String(share * Number(process.env.DISPATCH_LAYOUT_TEST_RUNS ?? 1)),
      NODE_V8_COVERAGE: '',
      ...settings,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  assert.strictEqual(status, 0, stdout);
  assert.match(stdout, /\d+ passing/);
  // The only tests that may be skipped are those of the real traces, if their files are missing.
  assert.notMatch(stdout, /not available here/);
}
