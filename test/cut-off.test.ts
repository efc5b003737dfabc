import { runInNewContext } from 'node:vm';
import { assert } from 'chai';
import type { TopkNdarray } from 'dispatch-layout';
import { WasmMemory } from '../bench/variants/wasm-memory.ts';
import type { TestGroup } from './conformance/devices.ts';
import { describeOnEachDevice } from './support/each-device.ts';

describeOnEachDevice('a layout that is cut off', (device) => {
  const topkIdx = { data: Int32Array.from({ length: 3 * 4 }, (_, i) => i % 4), shape: [3, 4] };

  it('by a stack overflow does not affect later layouts', () => {
    const group = device.createGroup({ numRanks: 4 });
    const descend = (): void => {
      group.getDispatchLayout(topkIdx, 8);
      descend();
    };
    for (let attempt = 0; attempt < 20; attempt++) {
      assert.throws(descend, RangeError);
      assert.deepEqual([...group.getDispatchLayout(topkIdx, 8).numTokensPerExpert], [3, 3, 3, 3, 0, 0, 0, 0]);
    }
  });

  it('by the timeout of a context does not affect later layouts', () => {
    const group = device.createGroup({ numRanks: 4 });
    const many = { data: new Int32Array(200_000 * 4).fill(5), shape: [200_000, 4] };
    const run = () => group.getDispatchLayout(many, 8);
    for (let attempt = 0; attempt < 5; attempt++) {
      assert.throws(() => runInNewContext('for (;;) run()', { run }, { timeout: 20 }), /timed out/);
      assert.deepEqual([...run().numTokensPerExpert], [0, 0, 0, 0, 0, 800_000, 0, 0]);
    }
  });
});

describeOnEachDevice('an order of rows that is cut off', (device) => {
  // The number of tokens changes, so that a call that is cut off leaves other lengths than the next call needs
  const inputs = [3, 4, 7].map((numTokens) => ({
    data: Int32Array.from({ length: numTokens * 4 }, (_, i) => (i * 5) % 8),
    shape: [numTokens, 4],
  }));
  const many = { data: Int32Array.from({ length: 200_000 * 4 }, (_, i) => (i * 5) % 8), shape: [200_000, 4] };

  for (const [title, compute] of [
    ['by expert', (group: TestGroup, topkIdx: TopkNdarray) => group.getExpertPermutation(topkIdx, 8, { alignment: 4 })],
    ['by rank', (group: TestGroup, topkIdx: TopkNdarray) => group.getRankPermutation(topkIdx, 8)],
  ] as const) {
    const print = (order: object) => JSON.stringify({ ...order, event: undefined });

    it(`${title}, by a stack overflow: does not affect later orders and layouts`, () => {
      const group = device.createGroup({ numRanks: 4 });
      const right = inputs.map((topkIdx) => print(compute(device.createGroup({ numRanks: 4 }), topkIdx)));
      let call = 0;
      const descend = (): void => {
        call += 1;
        if (call % 5 === 0) group.getDispatchLayout(inputs[call % 3], 8);
        else compute(group, inputs[call % 3]);
        descend();
      };
      for (let attempt = 0; attempt < 20; attempt++) {
        assert.throws(descend, RangeError);
        for (const [i, topkIdx] of inputs.entries()) assert.strictEqual(print(compute(group, topkIdx)), right[i]);
        assert.deepEqual([...group.getDispatchLayout(inputs[1], 8).numTokensPerExpert], [2, 2, 2, 2, 2, 2, 2, 2]);
      }
    });

    it(`${title}, by the timeout of a context: does not affect later orders and layouts`, () => {
      const group = device.createGroup({ numRanks: 4 });
      const right = print(compute(group, inputs[2]));
      const run = () => compute(group, many);
      for (let attempt = 0; attempt < 5; attempt++) {
        assert.throws(() => runInNewContext('for (;;) run()', { run }, { timeout: 20 }), /timed out/);
        assert.strictEqual(print(compute(group, inputs[2])), right);
        assert.deepEqual([...group.getDispatchLayout(inputs[1], 8).numTokensPerExpert], [2, 2, 2, 2, 2, 2, 2, 2]);
      }
    });
  }
});

describe('the WASM kernel', () => {
  it('puts nothing on its stack, whose pointer a call that is cut off would not restore', () => {
    const wasm = new WasmMemory(new URL('../dist/kernel.wasm', import.meta.url));
    const { exports } = wasm;
    // The stack ends at 0, so that anything that is put on it is outside of the memory.
    exports.stackRestore(0);
    assert.throws(() => new Uint8Array(wasm.buffer, exports.stackAlloc(16)), RangeError);
    exports.stackRestore(0);

    const numTopk = 3;
    const numTokens = 300;
    const numIds = numTokens * numTopk;
    for (const [numExperts, numRanks, numNodes] of [
      [8, 8, 1],
      [256, 64, 8],
      [512, 128, 128],
      [8192, 512, 256],
    ]) {
      const rankOfExpert = wasm.take(4 * numExperts);
      const counts = () => wasm.take(4 * (numExperts + 64));
      const plan = [
        rankOfExpert,
        wasm.take(16 * (numExperts + 8)),
        counts(),
        counts(),
        counts(),
        counts(),
        wasm.take(4 * numIds + 64),
      ];
      const ids = wasm.take(8 * numIds + 64);
      const rows = wasm.take(numTokens * numRanks + 64);
      new Int32Array(wasm.buffer, rankOfExpert, numExperts).forEach((_, expert, ranks) => {
        ranks[expert] = expert % numRanks;
      });
      const sizes = [numExperts, numRanks, numRanks / numNodes, numNodes];
      new Uint32Array(wasm.buffer, exports.plan(), 11).set([...sizes, ...plan]);
      exports.build_table();
      for (let idType = 0; idType < 8; idType++) {
        new Uint8Array(wasm.buffer, ids, 8 * numIds).fill(0);
        exports.begin(numIds);
        assert.equal(exports.locate(ids, idType, numIds, 0, -1), 1);
        assert.equal(exports.find_invalid(ids, idType, numIds, 0, 0), numIds);
        exports.add_tokens(0, numTokens, numTopk, 0, rows);
        exports.finish();
        exports.begin(numTopk);
        exports.locate(ids, idType, numTopk, 0, -1);
        exports.add_tokens(0, 1, numTopk, 0, rows);
        exports.begin(0);
      }
    }
  });
});
