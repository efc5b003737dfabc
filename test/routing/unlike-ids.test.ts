/** Arrays that are no ids, where only their numbers say so: counts, placements and tables, in containers of every kind. */
import { assert } from 'chai';
import { zipSync } from 'fflate';
import { openRouting, openRoutingOrCounts } from '../../ts/routing/index.ts';
import { npyOf } from '../cli/npy-writer.ts';
import { Random } from '../support/random.ts';
import { refusal } from './reading.ts';

const random = new Random(51);
const list = <Value>(length: number, of: (index: number) => Value): Value[] => Array.from({ length }, (_, i) => of(i));

/** How often each expert was selected by some tokens, of which each selects different ones. */
function countsOf(numTokens: number, numTopk: number, numExperts: number): number[] {
  const counts = new Array<number>(numExperts).fill(0);
  for (let token = 0; token < numTokens; token++) for (const expert of tokenOf(numTopk, numExperts)) counts[expert]++;
  return counts;
}

/** Experts of one token. Those of low numbers are more popular. */
function tokenOf(numTopk: number, numExperts: number): number[] {
  const experts = new Set<number>();
  while (experts.size < numTopk) experts.add(Math.min(random.below(numExperts), random.below(numExperts)));
  return [...experts];
}

const openBytes = (bytes: Uint8Array, axes?: string) => openRouting(bytes, { axes, name: 'file' });

describe('arrays that are no ids', () => {
  it('are counts where rows hold numbers twice, and are read as such', async () => {
    const counts = list(6, () => countsOf(300, 4, 64));
    const files = [
      npyOf(counts),
      Buffer.from(JSON.stringify(counts)),
      Buffer.from(zipSync({ 'x.npy': npyOf(counts) })),
    ];
    for (const file of files) {
      const error = await refusal(() => openBytes(file));
      assert.strictEqual(error.code, 'COUNTS');
      assert.match(
        error.message,
        /^file holds counts of 64 experts in 6 layers, and no tokens\. These are taken for counts: 6 of 6 rows hold a number twice, and a token selects different experts\. If they are ids, say so with axes: 'tokens,topk'; record the ids/,
      );
      const opened = await openRoutingOrCounts(file);
      if (opened.kind !== 'counts') return assert.fail();
      assert.deepEqual(
        opened.counts.map((row) => [...row]),
        counts,
      );
      assert.strictEqual((await openBytes(file, 'tokens,topk')).tokens, 6);
    }
  });

  it('are counts where those of all layers add up to the same', async () => {
    // Many tokens on few experts: no number stands twice
    const counts = list(5, (layer) =>
      list(8, (expert) => 5000 + 100 * ((expert * 3 + layer) % 8) + ((expert * layer) % 7)),
    );
    for (const row of counts) row[7] += 60_000 - row.reduce((sum, count) => sum + count, 0);
    assert.isTrue(counts.every((row) => new Set(row).size === 8));
    const error = await refusal(() => openBytes(npyOf(counts)));
    assert.strictEqual(error.code, 'COUNTS');
    assert.include(error.message, 'all 8 numbers of a row add up to the same, in each of 5 rows');
    counts[2][3]++;
    assert.strictEqual((await openBytes(npyOf(counts))).tokens, 5);
  });

  it('are counts of steps and layers, and are added up over the steps', async () => {
    const counts = list(3, (step) => list(10, () => countsOf(200 + step, 6, 32)));
    const opened = await openRoutingOrCounts(npyOf(counts));
    if (opened.kind !== 'counts') return assert.fail();
    assert.strictEqual(opened.layers.length, 10);
    assert.deepEqual(
      [...opened.counts[4]],
      list(32, (expert) => counts.reduce((sum, step) => sum + step[4][expert], 0)),
    );
    const ofOneLayer = list(400, () => countsOf(50, 2, 16));
    const steps = await openRoutingOrCounts(npyOf(ofOneLayer));
    assert.deepEqual([steps.kind, steps.layers], ['counts', [0]]);
  });

  it('are placements, where each row has every expert and some twice', async () => {
    const plan = list(4, (layer) => list(40, (slot) => (slot * 7 + layer) % 32));
    const error = await refusal(() => openBytes(npyOf(plan)));
    assert.strictEqual(error.code, 'NOT_ROUTING');
    assert.include(error.message, 'is a placement of experts: each row of 40 has all numbers from 0 to 31, not ids');
    assert.strictEqual((await openBytes(npyOf(plan), 'tokens,topk')).topk, 40);
  });

  it('are tables of few values', async () => {
    const flags = list(16, (row) => list(8, (column) => ((row * column) % 3) - 1));
    for (const file of [Buffer.from(JSON.stringify(flags)), npyOf(flags)]) {
      const error = await refusal(() => openBytes(file));
      assert.strictEqual(error.code, 'NOT_ROUTING');
      assert.match(error.message, /is a table of values up to 1 in rows of 8, not ids/);
    }
  });

  it('are those of such names, unless one is asked for', async () => {
    const counts = list(3, () => list(4, () => 5000 + random.below(99)));
    const arrays = { logical_count: npyOf(counts), ids: npyOf(list(9, () => tokenOf(2, 8))) };
    const zipped = (names: readonly (keyof typeof arrays)[]): Uint8Array =>
      zipSync(Object.fromEntries(names.map((name) => [`${name}.npy`, arrays[name]])));
    assert.strictEqual((await openBytes(zipped(['logical_count', 'ids']))).tokens, 9);
    const error = await refusal(() => openBytes(zipped(['logical_count'])));
    assert.strictEqual(error.code, 'NOT_ROUTING');
    assert.include(error.message, 'but logical_count: int64 [3, 4], by its name counts;');
    for (const name of ['expert_counts', 'expert_load', 'num_tokens_per_expert', 'num_tokens_per_rdma_rank', 'mask']) {
      const named = await refusal(() => openBytes(zipSync({ [`${name}.npy`]: arrays.ids })));
      assert.match(named.message, /by its name (counts|a mask);/, name);
    }
    const asked = { array: 'logical_count', axes: 'layers,experts' };
    assert.strictEqual((await openRoutingOrCounts(zipped(['logical_count', 'ids']), asked)).kind, 'counts');
  });

  it('are told from ids: of many slots, padded, dense, repeated and permuted ones', async () => {
    const tokens = list(200, () => tokenOf(22, 512));
    const cases: Record<string, readonly (readonly number[])[]> = {
      'many slots': tokens,
      'padded with -1': tokens.map((row, token) => (token % 2 ? row : row.map((id, slot) => (slot < 8 ? id : -1)))),
      'padded with 0': tokens.map((row) => row.map((id, slot) => (slot < 8 ? id : 0))),
      'padded with the number of experts': tokens.map((row) => row.map((id, slot) => (slot < 8 ? id : 512))),
      'dense rows': tokens.map((row, token) => (token < 150 ? row.map(() => 3) : row)),
      'warm-up rows': tokens.map((_, token) => tokens[token < 150 ? 0 : token]),
      'all experts': list(100, (token) => list(16, (slot) => (slot * 5 + token) % 16)),
      'two of eight': list(100, () => tokenOf(2, 8)),
      'drawn with replacement': list(100, () => list(8, () => random.below(12))),
      'no tokens': [],
    };
    for (const [name, ids] of Object.entries(cases)) {
      const routing = await openBytes(npyOf(ids));
      assert.strictEqual(routing.tokens, ids.length, name);
    }
    const layers = list(4, () => list(50, () => tokenOf(16, 64)));
    assert.strictEqual((await openBytes(npyOf(layers), 'layers,tokens,topk')).tokens, 50);
    // The sums of one layer each are equal to no others
    assert.strictEqual((await openBytes(npyOf(list(300, () => [tokenOf(8, 256)])))).tokens, 300);
  });
});
