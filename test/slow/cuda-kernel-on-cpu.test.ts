/**
 * Runs the unchanged source of the CUDA kernels on the CPU (`test/cuda-shim`), and compares random layouts and
 * permutations with naive references.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { assert } from 'chai';
import { root } from '../support/root.ts';

describe('the CUDA kernels on the CPU', function () {
  this.timeout(1_800_000);

  const runs: readonly [string, readonly string[]][] = [
    ['layout_test', ['1', '400']],
    ['layout_test', ['2', '400']],
    ['layout_test_sanitize', ['3', '150']],
    // This takes about a minute.
    ['layout_test_tsan', ['4', '350']],
    ['permutation_test', ['1', '400']],
    ['permutation_test', ['2', '400']],
    ['permutation_test', ['large']],
    ['permutation_test_sanitize', ['3', '150']],
    ['permutation_test_tsan', ['4', '60']],
  ];

  before(() => {
    const programs = new Set(runs.map(([program]) => program));
    execFileSync(`${root}test/cuda-shim/build.sh`, [...programs], { stdio: ['ignore', 'ignore', 'inherit'] });
  });

  for (const [program, settings] of runs) {
    it(`${program} ${settings.join(' ')}`, () => {
      const { status, stdout, stderr } = spawnSync(`${root}build/cuda-shim/${program}`, settings, { encoding: 'utf8' });
      assert.strictEqual(status, 0, stdout + stderr);
      assert.match(stdout, /(layouts|permutations) .*equal the reference/);
    });
  }
});
