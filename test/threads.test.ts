/** `threads`: layouts that several threads compute, whatever happens to the others. */
import { type ExecFileOptions, execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { assert } from 'chai';
import { ExpertGroup, type ExpertGroupOptions, getDispatchLayout } from 'dispatch-layout';
import { thresholds } from '../dist/threads/thresholds.js';
import { expectError } from './support/expect.ts';
import { Random } from './support/random.ts';
import {
  expectAsReference,
  expectUntouched,
  numChunksOfWorkers,
  sharedIds,
  sharedOut,
  sleep,
  threadPool,
  untilIdle,
} from './support/shared-memory.ts';

const library = new URL('../dist/index.js', import.meta.url).href;
const usual = { ...thresholds };

/** What `requestSource` makes, and its counts per rank. */
const evenIds = Int32Array.from({ length: 8 * 20_000 }, (_, index) => (index * 37) % 64);
const evenCounts = new ExpertGroup({ numRanks: 8, device: 'js' })
  .getDispatchLayout({ data: evenIds, shape: [20_000, 8] }, 64)
  .numTokensPerRank.join(' ');

/** Runs a module in a process of its own, and returns what it printed. */
async function run(source: string, options: ExecFileOptions = {}, prefix: readonly string[] = []): Promise<string> {
  const [file, ...args] = [...prefix, process.execPath, '--input-type=module', '--eval', source];
  const { stdout } = await promisify(execFile)(file, args, { timeout: 60_000, ...options, encoding: 'utf8' });
  return stdout.trim();
}

/** The source of a request of the given size, in a process of its own. */
const requestSource = (numTokens: number) => `
  import { ExpertGroup } from '${library}';
  const memory = typeof SharedArrayBuffer === 'undefined' ? ArrayBuffer : SharedArrayBuffer;
  const ids = new Int32Array(new memory(4 * 8 * ${numTokens}));
  for (let i = 0; i < ids.length; i++) ids[i] = (i * 37) % 64;
  const topkIdx = { data: ids, shape: [${numTokens}, 8] };
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
`;

describe('threads', () => {
  before(() => {
    Object.assign(thresholds, { split: 1, wake: 1, chunk: 64 });
  });
  after(() => {
    Object.assign(thresholds, usual);
  });

  for (const threads of [0, -1, 1.5, 33, Number.NaN, '2', 'Auto', null, true, {}]) {
    it(`${JSON.stringify(threads)} is refused`, () => {
      const options = { numRanks: 8, threads } as unknown as ExpertGroupOptions;
      expectError(() => new ExpertGroup(options), { code: 'OPTION', value: threads, message: /1 to 32, or 'auto'/ });
      expectError(() => getDispatchLayout([[0]], 8, options), { code: 'OPTION', value: threads });
    });
  }

  it('every device takes the option', () => {
    for (const device of ['auto', 'wasm', 'js'] as const) {
      const group = new ExpertGroup({ numRanks: 8, device, threads: 'auto' });
      assert.deepEqual([...group.getDispatchLayout([[0, 7]], 8).numTokensPerRank], [1, 0, 0, 0, 0, 0, 0, 1]);
    }
  });

  for (const threads of [2, 3, 'auto'] as const) {
    for (const [numRanks, numTopk, numExperts] of [
      [8, 8, 256],
      [64, 6, 64],
      [128, 8, 256],
      [600, 3, 1200],
      [8, 4, 8000],
      [1, 1, 1],
    ]) {
      it(`the same layouts: threads ${threads}, R=${numRanks} K=${numTopk} E=${numExperts}`, async () => {
        const random = new Random(numRanks + numTopk);
        const options = { numRanks, threads };
        const group = new ExpertGroup(options);
        if (threads !== 'auto') await untilIdle(threads - 1);
        for (let call = 0; call < 60; call++) {
          const numTokens = random.pick([1, 63, 200, 1000, 3001]);
          const request = sharedIds(random, numTokens, numTopk, numExperts);
          const invalidExperts = random.pick(['throw', 'ignore'] as const);
          if (invalidExperts === 'ignore') request.data[0] = request.data instanceof BigInt64Array ? 2n ** 40n : -2;
          const out = random.chance(0.7) ? sharedOut(numTokens, numExperts, group) : undefined;
          const layout = group.getDispatchLayout(request, numExperts, { out, invalidExperts });
          expectAsReference(layout, request, options, invalidExperts);
          if (out === undefined) assert.instanceOf(layout.isTokenInRank.buffer, SharedArrayBuffer);
          if (call % 10 === 0) await sleep(1);
        }
      });
    }
  }

  it('workers take part', async () => {
    const random = new Random(11);
    const group = new ExpertGroup({ numRanks: 8, threads: 2 });
    await untilIdle(1);
    const request = sharedIds(random, 50_000, 8, 256);
    const out = sharedOut(50_000, 256, group);
    let numByWorkers = 0;
    for (let call = 0; call < 500 && numByWorkers === 0; call++) {
      group.getDispatchLayout(request, 256, { out });
      numByWorkers = numChunksOfWorkers(32);
      if (call % 20 === 19) await sleep(2);
    }
    assert.isAbove(numByWorkers, 0);
    const layout = group.getDispatchLayout(request, 256, { out });
    expectAsReference(layout, request, { numRanks: 8 });
  });

  it('strides, offsets and arrays that lie anywhere in a buffer', async () => {
    await untilIdle(1);
    const group = new ExpertGroup({ numRanks: 16, threads: 2 });
    const buffer = new SharedArrayBuffer(8 + 2 * 3000 * 10);
    const data = new Int16Array(buffer, 8);
    for (let i = 0; i < data.length; i++) data[i] = (i * 31) % 32;
    for (const view of [
      { strides: [10, 1], offset: 3 },
      { strides: [10, 2], offset: 0 },
      { strides: [-10, -1], offset: 2999 * 10 + 9 },
      { strides: [1, 3000], offset: 7 },
    ]) {
      const request = { data, shape: [3000, 4] as const, ...view };
      for (let call = 0; call < 20; call++) {
        const layout = group.getDispatchLayout(request, 32);
        const expected = new ExpertGroup({ numRanks: 16, device: 'js' }).getDispatchLayout(request, 32);
        assert.strictEqual(Buffer.compare(layout.isTokenInRank, expected.isTokenInRank), 0);
        assert.deepEqual([...layout.numTokensPerExpert], [...expected.numTokensPerExpert]);
        assert.deepEqual([...(layout.numTokensPerRdmaRank ?? [])], [...(expected.numTokensPerRdmaRank ?? [])]);
      }
    }
  });

  it('ids or out that are not shared are computed on one thread', () => {
    const random = new Random(12);
    const group = new ExpertGroup({ numRanks: 8, threads: 2 });
    const request = sharedIds(random, 2000, 8, 64);
    const plainIds = { ...request, data: request.data.slice() };
    assert.instanceOf(plainIds.data.buffer, ArrayBuffer);
    const ofPlainIds = group.getDispatchLayout(plainIds, 64);
    expectAsReference(ofPlainIds, request, { numRanks: 8 });
    assert.instanceOf(ofPlainIds.isTokenInRank.buffer, ArrayBuffer);
    const intoPlainOut = group.getDispatchLayout(request, 64, { out: ofPlainIds });
    expectAsReference(intoPlainOut, request, { numRanks: 8 });
  });

  it('the first invalid id is reported, wherever it is, and nothing is written', async () => {
    const random = new Random(13);
    const group = new ExpertGroup({ numRanks: 8, threads: 3 });
    await untilIdle(2);
    const request = sharedIds(random, 4000, 8, 256);
    const { data } = request;
    const out = sharedOut(4000, 256, group);
    for (let call = 0; call < 150; call++) {
      const positions = Array.from({ length: random.between(1, 5) }, () => random.below(data.length));
      const before = positions.map((position) => data[position]);
      for (const position of positions) data[position] = data instanceof BigInt64Array ? 2n ** 33n + 1n : 256;
      const first = Math.min(...positions);
      const expected = { code: 'INVALID_EXPERT', token: Math.floor(first / 8), slot: first % 8, value: data[first] };
      expectError(() => group.getDispatchLayout(request, 256, { out }), expected);
      expectError(() => group.getDispatchLayout(request, 256), expected);
      for (const [index, position] of [...positions.entries()].reverse()) data[position] = before[index];
      if (call % 10 === 0) await sleep(1);
    }
    expectUntouched(out);
    expectAsReference(group.getDispatchLayout(request, 256, { out }), request, { numRanks: 8 });
  });

  it('workers that end at any moment change no result, and write nothing late', async () => {
    const random = new Random(14);
    const options = { numRanks: 8, threads: 3 };
    const group = new ExpertGroup(options);
    const request = sharedIds(random, 8000, 8, 256);
    const reference = new ExpertGroup({ numRanks: 8, device: 'js' }).getDispatchLayout(request, 256);
    const out = sharedOut(8000, 256, group);
    for (let round = 0; round < 25; round++) {
      await untilIdle(2);
      for (let call = random.below(6); call >= 0; call--) group.getDispatchLayout(request, 256, { out });
      threadPool()?.terminate();
      for (let call = 0; call < 4; call++) {
        const layout = group.getDispatchLayout(request, 256, { out });
        assert.strictEqual(Buffer.compare(layout.isTokenInRank, reference.isTokenInRank), 0);
        assert.deepEqual([...layout.numTokensPerExpert], [...reference.numTokensPerExpert]);
        assert.deepEqual([...layout.numTokensPerRank], [...reference.numTokensPerRank]);
        out.isTokenInRank.fill(0x55);
        if (call % 2 === 0) await sleep(random.below(3));
        assert.isTrue(out.isTokenInRank.every((value) => value === 0x55));
      }
    }
    await untilIdle(2);
  });

  it('threads of the user have workers of their own, which go with them', async () => {
    const source = `${requestSource(20_000)}
      const { parentPort } = await import('node:worker_threads');
      const group = new ExpertGroup({ numRanks: 8, threads: 2 });
      let out = group.getDispatchLayout(topkIdx, 64);
      parentPort.postMessage('started');
      for (;;) {
        out = group.getDispatchLayout(topkIdx, 64, { out });
        group.getDispatchLayout(topkIdx, 64, { asyncFinish: true });
        await sleep(0);
      }`;
    const random = new Random(15);
    for (let round = 0; round < 12; round++) {
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`));
      const error = new Promise((_, reject) => worker.once('error', reject));
      await Promise.race([new Promise((resolve) => worker.once('message', resolve)), error]);
      await sleep(random.below(80));
      await worker.terminate();
    }
  });

  it('an idle and a busy pool let the process end', async () => {
    const source = `${requestSource(20_000)}
      const group = new ExpertGroup({ numRanks: 8, threads: 3 });
      for (let i = 0; i < 50; i++) { group.getDispatchLayout(topkIdx, 64); await sleep(2); }
      const { numTokensPerRank } = group.getDispatchLayout(topkIdx, 64);
      console.log(numTokensPerRank.join(' '));`;
    const expected = evenCounts;
    const [idle, busy] = await Promise.all([run(`${source} await sleep(20);`), run(source)]);
    assert.deepEqual([idle, busy], [expected, expected]);
    const exits = `${source} process.exit(0);`;
    assert.strictEqual(await run(exits), expected);
  });

  it('without SharedArrayBuffer, and where workers are not allowed, on one thread', async () => {
    const source = `${requestSource(20_000)}
      const group = new ExpertGroup({ numRanks: 8, threads: 2 });
      let layout;
      for (let i = 0; i < 5; i++) { layout = group.getDispatchLayout(topkIdx, 64, { asyncFinish: true }); await layout.event.wait(); }
      layout = group.getDispatchLayout(topkIdx, 64);
      console.log(layout.numTokensPerRank.join(' '), layout.event.recorded);`;
    const expected = `${evenCounts} false`;
    const without = source.replace(
      "import { ExpertGroup } from '",
      "delete globalThis.SharedArrayBuffer; const { ExpertGroup } = await import('",
    );
    assert.strictEqual(await run(without.replace(`${library}';`, `${library}');`)), expected);
    const broken = `import { nodeWorkers } from '${new URL('threads/node-workers.js', library)}';
      ${source.replace('const group', `nodeWorkers.start = function () { throw new Error('not allowed'); }; const group`)}`;
    assert.strictEqual(await run(broken), expected);
    // Workers that end before they run
    const ending = broken.replace(
      "throw new Error('not allowed');",
      'setTimeout(arguments[1], 1); return { post() {}, keepAlive() {}, terminate() {} };',
    );
    assert.strictEqual(await run(ending), expected);
  });

  it('on one core', async function () {
    if (!existsSync('/usr/bin/taskset')) this.skip();
    const source = `${requestSource(20_000)}
      const group = new ExpertGroup({ numRanks: 8, threads: 2 });
      const auto = new ExpertGroup({ numRanks: 8, threads: 'auto' });
      let layout;
      for (let i = 0; i < 200; i++) {
        layout = group.getDispatchLayout(topkIdx, 64, { out: layout });
        auto.getDispatchLayout(topkIdx, 64);
        if (i % 20 === 0) await sleep(1);
      }
      console.log(layout.numTokensPerRank.join(' '));`;
    assert.strictEqual(await run(source, {}, ['/usr/bin/taskset', '-c', '0']), evenCounts);
  });

  it('memory stays flat over many groups and new arrays', async () => {
    const source = `${requestSource(20_000)}
      const bytes = () => process.memoryUsage().rss;
      const call = async (times) => {
        for (let i = 0; i < times; i++) {
          const group = new ExpertGroup({ numRanks: 64, threads: 2 });
          group.getDispatchLayout(topkIdx, 64);
          await group.getDispatchLayout(topkIdx, 64, { asyncFinish: true }).event.wait();
        }
      };
      await call(300);
      const before = bytes();
      await call(1500);
      console.log(Math.round((bytes() - before) / 2 ** 20));`;
    assert.isBelow(Number(await run(source)), 300);
  });
});
