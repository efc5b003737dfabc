/**
 * Plants bugs in copies of the CUDA kernels, and expects the programs that run these on the CPU to find them.
 */
import { spawnSync } from 'node:child_process';
import { assert } from 'chai';
import { root } from '../support/root.ts';

describe('the tests of the CUDA kernels on the CPU', function () {
  // About a hundred programs are compiled, on cores that other tests use, too
  this.timeout(1_800_000);

  it('find planted bugs', () => {
    const script = `${root}test/cuda-shim/planted_bugs.mjs`;
    const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' });
    assert.strictEqual(status, 0, stdout + stderr);
    assert.match(stdout, /^\d+ found, \d+ out of reach, 0 missed$/m);
  });
});
