/**
 * Parity with DeepEP: its reference in PyTorch against the command line, on random routing. For more cases, run parity.py
 * itself.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { commandPath, requirePython } from '../cli/command.ts';

const script = fileURLToPath(new URL('parity.py', import.meta.url));

/** Runs cases of one seed; `flags` go to the command, beside those of the case. */
function parity(count: number, ...flags: string[]) {
  const command = [process.execPath, commandPath, ...flags];
  return spawnSync('python3', [script, '1', String(count), ...command], {
    encoding: 'utf8',
    env: { ...process.env, NODE_OPTIONS: '' },
  });
}

describe("parity with DeepEP's reference in PyTorch", function () {
  this.timeout(120_000);
  before(function () {
    requirePython(this, 'torch, numpy');
  });

  it('random layouts are equal in every number', () => {
    const { status, stdout, stderr } = parity(30);
    assert.strictEqual(stderr, '');
    assert.strictEqual(status, 0);
    assert.strictEqual(stdout, "30 layouts are those of DeepEP's reference\n");
  });

  it('a wrong layout is found: with nodes of another size', () => {
    const { status, stderr } = parity(30, '--ranks-per-node', '4');
    assert.strictEqual(status, 1);
    assert.match(stderr, /^case \d+ of seed 1: .* num_tokens_per_rdma_rank/);
  });
});
