import { runInNewContext } from 'node:vm';
import { assert } from 'chai';
import { describeOnEachDevice } from './support/each-device.ts';

describeOnEachDevice('a layout that is cut off', (device) => {
  const topkIdx = { data: Int32Array.from({ length: 3 * 4 }, (_, i) => i % 4), shape: [3, 4] };

  it('by a stack overflow leaves nothing behind', () => {
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

  it('by the timeout of a context leaves nothing behind', () => {
    const group = device.createGroup({ numRanks: 4 });
    const many = { data: new Int32Array(200_000 * 4).fill(5), shape: [200_000, 4] };
    const run = () => group.getDispatchLayout(many, 8);
    for (let attempt = 0; attempt < 5; attempt++) {
      assert.throws(() => runInNewContext('for (;;) run()', { run }, { timeout: 20 }), /timed out/);
      assert.deepEqual([...run().numTokensPerExpert], [0, 0, 0, 0, 0, 800_000, 0, 0]);
    }
  });
});
