/** Layouts that are under way while others are asked for: what the order of a group protects, and what keeps a process alive. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { type EventHandle, EventOverlap, ExpertGroup, getDispatchLayout } from 'dispatch-layout';
import { expectError } from './support/expect.ts';
import { untilIdle } from './support/shared-memory.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

function inNewProcess(script: string): string {
  const source = `import { ExpertGroup, prepare, getDispatchLayout } from 'dispatch-layout';\n${script}`;
  return execFileSync(process.execPath, ['--input-type=module', '--eval', source], {
    cwd: root,
    encoding: 'utf8',
  }).trim();
}

/** An event that runs code of the caller when it is waited for. */
function eventThatRuns(run: () => void): EventOverlap {
  const handle: EventHandle = { done: false, currentStreamWait: run, wait: () => new Promise(() => {}) };
  return new EventOverlap(handle);
}

describe('layouts under way', function () {
  this.timeout(60_000);

  it('two of a group with the same rows: those of the second remain, also where this thread computes the first', async () => {
    const [numTokens, numTopk] = [131_072, 8];
    const group = new ExpertGroup({ numRanks: 8, device: 'wasm' });
    await group
      .getDispatchLayout({ data: new Int32Array(numTokens * numTopk), shape: [numTokens, numTopk] }, 256, {
        asyncFinish: true,
      })
      .event.wait();
    await untilIdle(1);
    const invalidAtTheEnd = new Int32Array(numTokens * numTopk);
    invalidAtTheEnd[invalidAtTheEnd.length - 1] = 999;
    const ofLastRank = new Int32Array(numTokens * numTopk).fill(255);
    for (let round = 0; round < 4; round++) {
      const request = (data: Int32Array) => ({ data, shape: [numTokens, numTopk] });
      const first = group.getDispatchLayout(request(invalidAtTheEnd), 256, { asyncFinish: true });
      const second = group.getDispatchLayout(request(ofLastRank), 256, { asyncFinish: true, out: first });
      for (const end = performance.now() + 10; performance.now() < end; );
      await first.event.wait().then(
        () => assert.fail('the first has an invalid id'),
        () => {},
      );
      await second.event.wait();
      assert.isTrue(second.isTokenInRank.every((byte, index) => byte === (index % 8 === 7 ? 1 : 0)));
      assert.strictEqual(second.numTokensPerExpert[255], numTokens * numTopk);
    }
  });

  it('more slots than a chunk has room for', async () => {
    const [numTokens, numTopk] = [20_000, 1000];
    const data = new Int8Array(new SharedArrayBuffer(numTokens * numTopk));
    for (let index = 0; index < data.length; index++) data[index] = (index * 37) % 64;
    const request = { data, shape: [numTokens, numTopk] } as const;
    const group = new ExpertGroup({ numRanks: 8, device: 'wasm', threads: 2 });
    const expected = new ExpertGroup({ numRanks: 8, device: 'wasm' }).getDispatchLayout(request, 64);
    for (const options of [
      {},
      { invalidExperts: 'ignore' },
      { invalidExperts: 'ignore', asyncFinish: true },
    ] as const) {
      await untilIdle(1);
      const layout = group.getDispatchLayout(request, 64, options);
      if ('asyncFinish' in options) await layout.event.wait();
      assert.deepEqual([...layout.numTokensPerExpert], [...expected.numTokensPerExpert]);
      assert.deepEqual([...layout.numTokensPerRank], [...expected.numTokensPerRank]);
      assert.isTrue(layout.isTokenInRank.every((byte) => byte === 1));
    }
  });

  it('who waits behind another group keeps the process alive', () => {
    const printed = inNewProcess(`
      const numTokens = 200_000;
      const topkIdx = { data: new Int32Array(new SharedArrayBuffer(32 * numTokens)), shape: [numTokens, 8] };
      const [first, second] = [new ExpertGroup({ numRanks: 8 }), new ExpertGroup({ numRanks: 8 })];
      const { event } = first.getDispatchLayout(topkIdx, 256, { asyncFinish: true });
      second.getDispatchLayout(topkIdx, 256, { asyncFinish: true, previousEvent: event });
      const last = second.getDispatchLayout(topkIdx, 256, { asyncFinish: true });
      await last.event.wait();
      console.log(last.numTokensPerExpert[0]);`);
    assert.strictEqual(printed, '1600000');
  });

  it('without shared memory for the worker the layout is computed here', () => {
    const printed = inNewProcess(`
      const topkIdx = { data: new Int32Array(new SharedArrayBuffer(32 * 65536)), shape: [65536, 8] };
      const group = new ExpertGroup({ numRanks: 8 });
      const out = group.getDispatchLayout(topkIdx, 256, { asyncFinish: true });
      await out.event.wait();
      out.numTokensPerExpert.fill(9);
      globalThis.SharedArrayBuffer = new Proxy(SharedArrayBuffer, { construct() { throw new RangeError('none left'); } });
      const { event, numTokensPerExpert } = group.getDispatchLayout(topkIdx, 256, { asyncFinish: true, out });
      await event.wait();
      console.log(numTokensPerExpert[0]);
      process.exit();`);
    assert.strictEqual(printed, '524288');
  });

  for (const device of ['wasm', 'js'] as const) {
    it(`an event that transfers or shrinks arrays: an error, and nothing is written (${device})`, () => {
      const group = new ExpertGroup({ numRanks: 4, device });
      const out = {
        numTokensPerRank: new Int32Array(4).fill(9),
        numTokensPerRdmaRank: null,
        numTokensPerExpert: new Int32Array(8).fill(9),
        isTokenInRank: new Uint8Array(32).fill(9),
      };
      // Node.js 20 has them, its declarations do not
      const Resizable = ArrayBuffer as unknown as new (
        bytes: number,
        options: object,
      ) => ArrayBuffer & { resize(bytes: number): void };
      const buffer = new Resizable(64, { maxByteLength: 128 });
      const previousEvent = eventThatRuns(() => buffer.resize(8));
      const topkIdx = { data: new Int32Array(buffer), shape: [8, 2] } as const;
      expectError(() => group.getDispatchLayout(topkIdx, 8, { out, previousEvent }), { code: 'TOPK_SHAPE' });

      const ids = { data: new Int32Array(16), shape: [8, 2] } as const;
      // The layout that waits for the event is under way when the next is asked for
      const blocking = eventThatRuns(() =>
        structuredClone(out.numTokensPerExpert.buffer, { transfer: [out.numTokensPerExpert.buffer] }),
      );
      group.getDispatchLayout(ids, 8, { asyncFinish: true, previousEvent: blocking });
      if (device === 'wasm') {
        expectError(() => group.getDispatchLayout(ids, 8, { out }), { code: 'DETACHED_BUFFER' });
      }
      assert.isTrue(
        out.numTokensPerRank.every((count) => count === 9) && out.isTokenInRank.every((byte) => byte === 9),
      );
    });

    it(`a workspace whose arrays were transferred says so, where they can be (${device})`, () => {
      const workspace = new ExpertGroup({ numRanks: 4, device }).createWorkspace({
        numExperts: 8,
        maxTokens: 4,
        numTopk: 1,
      });
      const transfer = () =>
        structuredClone(workspace.topkIdx.buffer, { transfer: [workspace.topkIdx.buffer as ArrayBuffer] });
      if (device === 'wasm') {
        // Some runtimes refuse, others copy
        try {
          transfer();
        } catch {}
        assert.deepEqual([...workspace.run(4).numTokensPerExpert], [4, 0, 0, 0, 0, 0, 0, 0]);
        return;
      }
      transfer();
      expectError(() => workspace.run(4), { code: 'DETACHED_BUFFER' });
    });
  }

  it('the function reads a placement as a group does, whatever it says of its length', () => {
    for (const length of [2 ** 28, 2 ** 32]) {
      expectError(() => getDispatchLayout([[0]], 8, { numRanks: 2, placement: { length } as never }), {
        code: 'PLACEMENT',
      });
    }
  });

  it('the function takes the device that prepare has made available', () => {
    const printed = inNewProcess(`
      const originals = [WebAssembly.Module, WebAssembly.Instance];
      for (const name of ['Module', 'Instance']) {
        WebAssembly[name] = new Proxy(WebAssembly[name], { construct() { throw new RangeError('not on the main thread'); } });
      }
      const device = () => getDispatchLayout([[0]], 8, { numRanks: 4 }).device;
      const before = device();
      [WebAssembly.Module, WebAssembly.Instance] = originals;
      console.log(before, await prepare(), device());`);
    assert.strictEqual(printed, 'js wasm wasm');
  });
});
