/**
 * Everything above the GPU on a machine without one: the addon over a made-up driver (`test/cuda-fake`), with the real
 * kernel on the CPU. The whole conformance suite and the tests of tensors, streams and events run there as the device
 * `cuda`, in a process of their own, since a process probes its devices once.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { fakeAddon } from './fake.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('on the made-up GPU', function () {
  this.timeout(600_000);

  const runs: readonly [string, readonly string[]][] = [
    ['conformance', ['test/conformance/conformance.test.ts']],
    [
      'tensors, streams and events',
      ['test/cuda/tensors.test.ts', 'test/cuda/device-layouts.test.ts', 'test/events.test.ts'],
    ],
  ];
  for (const [name, files] of runs) {
    it(name, () => {
      const { status, stdout } = spawnSync(
        process.execPath,
        [
          'node_modules/mocha/bin/mocha.js',
          '--reporter=spec',
          '--no-config',
          '--import=tsx/esm',
          '--timeout=120000',
          ...files,
        ],
        {
          cwd: root,
          encoding: 'utf8',
          env: {
            ...process.env,
            DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(),
            DISPATCH_LAYOUT_TEST_DEVICES: 'cuda',
            NODE_V8_COVERAGE: '',
          },
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      assert.strictEqual(status, 0, stdout);
      assert.match(stdout, /\d+ passing/);
      // But for the real traces, where their files are missing
      assert.notMatch(stdout, /not available here/);
    });
  }
});
