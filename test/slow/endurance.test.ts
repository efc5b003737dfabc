/**
 * Many threads that are terminated in the middle of a call, and very many groups. `DISPATCH_LAYOUT_TEST_RUNS=10`
 * multiplies the number of threads by ten, to 500 on each device.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { assert } from 'chai';
import { ExpertGroup } from 'dispatch-layout';
import { expectArrays } from '../support/expect.ts';
import { markedArrays } from '../support/marked-arrays.ts';
import { jsonOf } from '../support/run-script.ts';

const runs = Number(process.env.DISPATCH_LAYOUT_TEST_RUNS ?? 1);

describe('threads that are terminated in the middle of a call', function () {
  this.timeout(600_000);

  /** Every thread computes layouts into memory that all threads share, until it is terminated. */
  const work = `
    import { ExpertGroup } from 'dispatch-layout';
    import { parentPort, workerData } from 'node:worker_threads';
    const { device, data, out } = workerData;
    const group = new ExpertGroup({ numRanks: 16, device });
    const topkIdx = { data, shape: [data.length / 8, 8] };
    group.getDispatchLayout(topkIdx, 64, { out });
    parentPort.postMessage('works');
    for (;;) group.getDispatchLayout(topkIdx, 64, { out });`;

  const allocate = (bytes: number) => new SharedArrayBuffer(bytes);
  const numTokens = 20_000;
  const data = new Int32Array(allocate(numTokens * 8 * 4)).map((_, i) => (i * 37) % 64);
  const out = markedArrays({ numTokens, numExperts: 64, numRanks: 16 }, { allocate });

  for (const device of ['wasm', 'js'] as const) {
    it(`${device}: nothing hangs, this thread is unaffected, and memory does not grow`, async () => {
      const group = new ExpertGroup({ numRanks: 16, device });
      const topkIdx = { data, shape: [numTokens, 8] };
      const expected = group.getDispatchLayout(topkIdx, 64);
      const threads = 50 * runs;
      let before = 0;
      for (let round = 0; round < threads; round++) {
        const worker = new Worker(work, {
          eval: true,
          execArgv: ['--input-type=module'],
          workerData: { device, data, out },
        });
        await once(worker, 'message');
        // This thread writes at the same time as the worker.
        for (let call = 0; call <= round % 3; call++) group.getDispatchLayout(topkIdx, 64, { out });
        assert.strictEqual(await worker.terminate(), 1, 'it was in the loop');
        if (round === Math.floor(threads / 5)) before = process.memoryUsage.rss();
      }
      group.getDispatchLayout(topkIdx, 64, { out });
      expectArrays(out, expected);
      assert.isBelow((process.memoryUsage.rss() - before) / 2 ** 20, 150, 'MiB more than after a fifth of the threads');
    });
  }
});

describe('very many groups', function () {
  this.timeout(600_000);

  /** How many MiB the process grows by after a fifth of the groups, with little room for garbage. */
  function growth(numGroups: number, makeGroup: string): { readonly mebibytes: number; readonly seconds: number } {
    return jsonOf(
      `
      import { ExpertGroup } from 'dispatch-layout';
      const makeAndUse = ${makeGroup};
      const started = performance.now();
      let before = 0;
      for (let i = 0; i < ${numGroups}; i++) {
        makeAndUse(i);
        // Finalisers run between tasks.
        if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
        if (i === ${numGroups / 5}) { gc(); before = process.memoryUsage.rss(); }
      }
      gc();
      const mebibytes = (process.memoryUsage.rss() - before) / 2 ** 20;
      console.log(JSON.stringify({ mebibytes, seconds: (performance.now() - started) / 1000 }));`,
      { NODE_V8_COVERAGE: '' },
      // V8 enlarges the young generation by tens of MiB at a time of its own choice, which is no growth of ours
      ['--expose-gc', '--max-old-space-size=64', '--max-semi-space-size=2'],
    ) as { mebibytes: number; seconds: number };
  }

  for (const device of ['wasm', 'js']) {
    it(`take no memory after they are dropped (100,000 groups on ${device})`, () => {
      const { mebibytes } = growth(
        100_000,
        `(i) => {
          const numExperts = 8 + (i % 64) * 8;
          const placement = i % 2 === 0 ? undefined : new Int32Array(numExperts).fill(i % 8);
          const group = new ExpertGroup({ numRanks: 8, numRanksPerNode: 4, device: '${device}', placement });
          const { numTokensPerExpert } = group.getDispatchLayout([[i % 8, -1]], numExperts);
          if (numTokensPerExpert[i % 8] !== 1) throw new Error('group ' + i + ' is wrong');
        }`,
      );
      assert.isBelow(mebibytes, 8);
    });
  }

  it('give back memory of their own (16 MiB and more)', () => {
    const { mebibytes } = growth(
      200,
      `(i) => {
        const group = new ExpertGroup({ numRanks: 1, device: 'wasm' });
        const { numTokensPerExpert } = group.getDispatchLayout([[i]], 2 ** 20);
        if (numTokensPerExpert[i] !== 1) throw new Error('group ' + i + ' is wrong');
      }`,
    );
    // 160 groups would keep 5 GiB.
    assert.isBelow(mebibytes, 500);
  });
});
