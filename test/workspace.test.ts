import { assert } from 'chai';
import { type DispatchLayout, ExpertGroup, type WorkspaceOptions } from 'dispatch-layout';
import { answer, rowsOf } from './conformance/oracle.ts';
import { describeOnEachDevice } from './support/each-device.ts';
import { expectArrays, expectError } from './support/expect.ts';
import { Random } from './support/random.ts';
import { printedBy } from './support/run-script.ts';
import { idTypeNames, idTypes } from './support/topk-storage.ts';

const shape = { numExperts: 64, maxTokens: 20, numTopk: 4 } as const;

for (const device of ['wasm', 'js'] as const) {
  describe(`workspaces (${device})`, () => {
    const group = new ExpertGroup({ numRanks: 16, device });

    /** Checks a layout against the oracle, given the ids of its tokens. */
    function expectLayoutOf(layout: DispatchLayout, ids: Int32Array, numTopk: number, numExperts: number): void {
      const rows = rowsOf({ data: ids, shape: [ids.length / numTopk, numTopk] });
      const expected = answer({ rows, numExperts, numRanks: 16 });
      assert.isTrue('layout' in expected);
      if ('layout' in expected) expectArrays(layout, expected.layout);
    }

    it('has arrays of the right type and size, which are zero at first', () => {
      for (const idType of idTypeNames) {
        const workspace = group.createWorkspace({ ...shape, idType });
        assert.strictEqual(workspace.topkIdx.constructor, idTypes[idType]);
        assert.strictEqual(workspace.topkIdx.length, 80);
        assert.isTrue(workspace.topkIdx.every((id: number | bigint) => Number(id) === 0));
        assert.strictEqual(workspace.run(0).numTokens, 0);
      }
      const workspace = group.createWorkspace(shape);
      assert.instanceOf(workspace.topkIdx, BigInt64Array);
      assert.deepInclude({ ...workspace }, { maxTokens: 20, numTopk: 4, device });
    });

    it('computes any number of tokens, in any order, and leaves the ids as they are', () => {
      const random = new Random(1);
      const workspace = group.createWorkspace({ ...shape, idType: 'int32' });
      const ids = Int32Array.from({ length: 80 }, () => random.between(-1, 63));
      workspace.topkIdx.set(ids);
      for (let run = 0; run < 60; run += 1) {
        const numTokens = random.between(0, 20);
        const layout = workspace.run(numTokens);
        expectLayoutOf(layout, ids.subarray(0, numTokens * 4), 4, 64);
        assert.deepEqual(Array.from(workspace.topkIdx), Array.from(ids));
      }
      expectLayoutOf(workspace.run(), ids, 4, 64);
    });

    it('returns the same object for the same number of tokens, with everything that getDispatchLayout returns', () => {
      const workspace = group.createWorkspace(shape);
      workspace.topkIdx.fill(5n);
      const layout = workspace.run(7);
      workspace.run(8);
      assert.strictEqual(workspace.run(7), layout);
      const { event, ...data } = group.getDispatchLayout(
        { data: new BigInt64Array(28).fill(5n), shape: [7, 4] },
        shape.numExperts,
      );
      assert.deepEqual({ ...layout }, { ...data, event });
      assert.isFalse(layout.event.recorded);
    });

    it('keeps the results of the run before when an id is not an expert', () => {
      const workspace = group.createWorkspace({ ...shape, idType: 'int16' });
      workspace.topkIdx.fill(63);
      const layout = workspace.run(6);
      const before = Array.from(layout.numTokensPerExpert);
      workspace.topkIdx.fill(1);
      workspace.topkIdx.set([64, -7], 13);
      for (let attempt = 0; attempt < 2; attempt += 1) {
        expectError(() => workspace.run(6), { code: 'INVALID_EXPERT', token: 3, slot: 1, value: 64 });
        assert.deepEqual(Array.from(layout.numTokensPerExpert), before);
        assert.isTrue(layout.isTokenInRank.every((byte, index) => byte === (index % 16 === 15 ? 1 : 0)));
        assert.deepEqual(Array.from(layout.numTokensPerRank), [...new Array(15).fill(0), 6]);
      }
      // After the tokens of the run, an id that is not an expert does not matter.
      expectLayoutOf(
        workspace.run(3),
        Int32Array.from({ length: 12 }, () => 1),
        4,
        64,
      );
    });

    it('skips ids that are not experts if it was made with that option', () => {
      const workspace = group.createWorkspace({ ...shape, idType: 'int8', invalidExperts: 'ignore' });
      workspace.topkIdx.fill(100);
      workspace.topkIdx[0] = 9;
      const layout = workspace.run();
      assert.strictEqual(
        layout.numTokensPerExpert.reduce((sum, count) => sum + count),
        1,
      );
      assert.strictEqual(layout.isTokenInRank[2], 1);
    });

    it('throws the error of getDispatchLayout for experts that do not divide evenly', () => {
      expectError(() => group.createWorkspace({ ...shape, numExperts: 63 }), { code: 'UNEVEN_EXPERTS' });
      assert.strictEqual(
        group.createWorkspace({ ...shape, numExperts: 63, invalidExperts: 'ignore' }).run(1).numExperts,
        63,
      );
    });

    it('refuses impossible shapes and numbers of tokens', () => {
      const create = (options: unknown) => () => group.createWorkspace(options as WorkspaceOptions);
      expectError(create(undefined), { code: 'OPTION' });
      for (const value of [-1, 1.5, '8', null, undefined, Number.NaN, 8n]) {
        expectError(create({ ...shape, maxTokens: value }), { code: 'OPTION', value, message: /maxTokens/ });
        expectError(create({ ...shape, numTopk: value }), { code: 'OPTION', value, message: /numTopk/ });
      }
      expectError(create({ ...shape, idType: 'float32' }), { code: 'OPTION', value: 'float32', message: /int64/ });
      expectError(create({ ...shape, idType: 'toString' }), { code: 'OPTION', value: 'toString' });
      expectError(create({ ...shape, invalidExperts: 'skip' }), { code: 'OPTION', value: 'skip' });
      expectError(create({ ...shape, maxTokens: 2 ** 30 }), { code: 'TOO_LARGE', value: 2 ** 32 });
      expectError(create({ ...shape, maxTokens: 2 ** 29 - 1 }), { code: 'OUT_OF_MEMORY' });
      const workspace = group.createWorkspace(shape);
      for (const value of [21, -1, 0.5, '3', null, Number.NaN]) {
        expectError(() => workspace.run(value as number), { code: 'OPTION', value, message: /numTokens/ });
      }
    });

    it('forgets result objects before there are too many', () => {
      const workspace = group.createWorkspace({ numExperts: 16, maxTokens: 3000, numTopk: 1, idType: 'uint8' });
      workspace.topkIdx.fill(3);
      for (let numTokens = 0; numTokens <= 3000; numTokens += 1) {
        const layout = workspace.run(numTokens);
        assert.strictEqual(layout.isTokenInRank.length, numTokens * 16);
        assert.strictEqual(layout.numTokensPerExpert[3], numTokens);
      }
    });
  });
}

describe('workspaces and their memory', () => {
  it('stay valid, whatever else is computed', () => {
    const group = new ExpertGroup({ numRanks: 8, device: 'wasm' });
    const workspace = group.createWorkspace({ numExperts: 64, maxTokens: 100, numTopk: 8 });
    const { topkIdx } = workspace;
    topkIdx.fill(7n);
    const layout = workspace.run();
    // Groups of this size make the memory grow that groups share.
    for (const numRanks of [600, 6000]) {
      new ExpertGroup({ numRanks, device: 'wasm' }).getDispatchLayout([[1, 2, 3]], numRanks * 100);
    }
    group.createWorkspace({ numExperts: 64, maxTokens: 100_000, numTopk: 8 }).run();
    assert.strictEqual(topkIdx.length, 800);
    assert.strictEqual(workspace.run(), layout);
    assert.strictEqual(layout.numTokensPerExpert[7], 800);
  });

  it('cannot be transferred away', () => {
    const workspace = new ExpertGroup({ numRanks: 8, device: 'wasm' }).createWorkspace({
      numExperts: 64,
      maxTokens: 10,
      numTopk: 8,
    });
    // Node.js 20 copies the memory; later versions throw.
    try {
      structuredClone(workspace.topkIdx, { transfer: [workspace.topkIdx.buffer] });
    } catch (error) {
      assert.include((error as Error).message, 'transfer');
    }
    assert.strictEqual(workspace.topkIdx.length, 80);
    assert.strictEqual(workspace.run().numTokensPerExpert[0], 80);
  });

  it('are independent of each other, and of the group', () => {
    const workspaces = Array.from({ length: 5 }, (_, index) => {
      const group = new ExpertGroup({ numRanks: 8, device: 'wasm' });
      const workspace = group.createWorkspace({ numExperts: 64, maxTokens: 10, numTopk: 2, idType: 'int32' });
      workspace.topkIdx.fill(index);
      return workspace;
    });
    for (const workspace of workspaces) workspace.run();
    for (const [index, workspace] of workspaces.entries()) {
      assert.strictEqual(workspace.run(10).numTokensPerExpert[index], 20);
    }
  });
});

describeOnEachDevice('a result that is passed as out', (device) => {
  it('is returned as the result, as long as it fits', () => {
    const group = device.createGroup({ numRanks: 4 });
    const topkIdx = { data: Int32Array.of(0, 5, 6, -1), shape: [2, 2] } as const;
    const layout = group.getDispatchLayout(topkIdx, 8);
    const again = group.getDispatchLayout(topkIdx, 8, { out: layout });
    expectArrays(again, {
      numTokensPerRank: [1, 0, 1, 1],
      numTokensPerRdmaRank: null,
      numTokensPerExpert: [1, 0, 0, 0, 0, 1, 1, 0],
      isTokenInRank: Uint8Array.of(1, 0, 1, 0, 0, 0, 0, 1),
    });
    const fewer = group.getDispatchLayout({ ...topkIdx, shape: [1, 4] }, 8, { out: layout });
    assert.strictEqual(fewer.numTokens, 1);
    assert.strictEqual(layout.numTokens, 2);
    const event = group.getDispatchLayout(topkIdx, 8, { out: layout, asyncFinish: true }).event;
    assert.isTrue(event.recorded);
    assert.isFalse(layout.event.recorded);
  });
});

describe('calls that reuse their results', () => {
  it('allocate nothing, and neither do workspaces', () => {
    const program = `
      import { ExpertGroup } from 'dispatch-layout';
      const group = new ExpertGroup({ numRanks: 64, device: 'wasm' });
      for (const numTokens of [1, 128, 4096]) {
        const topkIdx = { data: new BigInt64Array(numTokens * 8), shape: [numTokens, 8] };
        const options = { out: group.getDispatchLayout(topkIdx, 256) };
        const workspace = group.createWorkspace({ numExperts: 256, maxTokens: numTokens, numTopk: 8 });
        for (const call of [() => group.getDispatchLayout(topkIdx, 256, options), () => workspace.run()]) {
          const repeat = (count) => { for (let i = 0; i < count; i++) call(); };
          const numCalls = 2000;
          // Compiled code allocates less than interpreted code, and we do not control when V8 compiles: so the least
          // counts.
          let bytes = Infinity;
          for (let round = 0; round < 40 && bytes > numCalls; round++) {
            repeat(3000);
            gc();
            const before = process.memoryUsage().heapUsed;
            repeat(numCalls);
            bytes = Math.min(bytes, process.memoryUsage().heapUsed - before);
          }
          console.log(numTokens, bytes <= 8 * numCalls ? 'ok' : bytes / numCalls);
        }
      }`;
    const printed = printedBy(program, { NODE_V8_COVERAGE: '' }, ['--expose-gc']);
    assert.deepEqual(printed.split('\n'), ['1 ok', '1 ok', '128 ok', '128 ok', '4096 ok', '4096 ok']);
  }).timeout(120_000);
});
