/** `asyncFinish` on `wasm`: the communication stream on a worker. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { assert } from 'chai';
import { type DispatchLayout, type EventHandle, EventOverlap, ExpertGroup } from 'dispatch-layout';
import { thresholds } from '../dist/threads/thresholds.js';
import { expectError, expectRejection } from './support/expect.ts';
import { Random } from './support/random.ts';
import {
  expectAsReference,
  expectUntouched,
  type SharedRequest,
  sharedIds,
  sharedOut,
  sleep,
  threadPool,
  untilIdle,
} from './support/shared-memory.ts';

const library = new URL('../dist/index.js', import.meta.url).href;
const usual = { ...thresholds };
const numExperts = 256;

/** An event of the caller's own that is over when it is told so. */
class ManualEvent implements EventHandle {
  readonly notes: string[] = [];
  readonly #atWait: () => void;
  readonly #listeners: (() => void)[] = [];
  #error: Error | undefined;
  done = false;

  /** @param atWait what a thread that waits does. */
  constructor(atWait: () => void = () => {}) {
    this.#atWait = atWait;
  }

  finish(error?: Error): void {
    this.done = true;
    this.#error = error;
    for (const listener of this.#listeners) listener();
  }

  currentStreamWait(): void {
    this.notes.push('currentStreamWait');
    this.#atWait();
    this.done = true;
    if (this.#error !== undefined) throw this.#error;
  }

  async wait(): Promise<void> {
    this.notes.push('wait');
    if (!this.done) await new Promise<void>((resolve) => this.#listeners.push(resolve));
    if (this.#error !== undefined) throw this.#error;
  }
}

/** The request with one id that is no expert. */
function withInvalidId(request: SharedRequest, position: number): SharedRequest {
  const data = request.data.slice() as Int32Array;
  const View = data.constructor as new (buffer: SharedArrayBuffer) => Int32Array;
  const shared = new View(new SharedArrayBuffer(data.byteLength));
  shared.set(data);
  const isBig = request.data instanceof BigInt64Array;
  shared[position] = (isBig ? BigInt(numExperts) : numExperts) as number;
  return { ...request, data: shared };
}

describe('asyncFinish on wasm', () => {
  const random = new Random(21);
  const options = { numRanks: 16, device: 'wasm' } as const;
  const group = new ExpertGroup(options);
  const request = sharedIds(random, 3000, 8, numExperts);
  const other = sharedIds(random, 3000, 8, numExperts);

  before(async () => {
    Object.assign(thresholds, { background: 0, chunk: 64 });
    await untilIdle(1);
  });
  after(() => {
    Object.assign(thresholds, usual);
  });

  it('returns before the layout is done; done, wait and currentStreamWait tell of it', async () => {
    const large = sharedIds(random, 300_000, 8, numExperts);
    const awaited = group.getDispatchLayout(large, numExperts, { asyncFinish: true });
    assert.isTrue(awaited.event.recorded);
    assert.isFalse(awaited.event.done);
    for (const array of [awaited.numTokensPerRank, awaited.numTokensPerExpert, awaited.isTokenInRank]) {
      assert.instanceOf(array.buffer, SharedArrayBuffer);
    }
    await awaited.event.wait();
    assert.isTrue(awaited.event.done);
    expectAsReference(awaited, large, options);

    const blocked = group.getDispatchLayout(large, numExperts, { asyncFinish: true });
    assert.isFalse(blocked.event.done);
    blocked.event.currentStreamWait();
    assert.isTrue(blocked.event.done);
    expectAsReference(blocked, large, options);

    const polled = group.getDispatchLayout(large, numExperts, { asyncFinish: true });
    // Without a turn of the event loop
    for (const start = performance.now(); !polled.event.done; ) {
      if (performance.now() - start > 20_000) assert.fail('done never becomes true');
    }
    expectAsReference(polled, large, options);
  });

  it('ids that are not shared are copied at the call, nested ones too', async () => {
    const data = request.data.slice();
    const plain = group.getDispatchLayout({ ...request, data }, numExperts, { asyncFinish: true });
    const rows = [
      [3, 5],
      [-1, 250],
    ];
    const nested = group.getDispatchLayout(rows, numExperts, { asyncFinish: true });
    data.fill(0 as never);
    rows[0][0] = 999;
    await Promise.all([plain.event.wait(), nested.event.wait()]);
    expectAsReference(plain, request, options);
    assert.deepEqual([nested.numTokensPerExpert[3], nested.numTokensPerExpert[250]], [1, 1]);
  });

  it('layouts of one group are in order, with calls that wait among them', async () => {
    for (let round = 0; round < 30; round++) {
      const out = sharedOut(3000, numExperts, group);
      const requests = Array.from({ length: random.between(2, 9) }, () => random.pick([request, other]));
      const layouts = requests.map((each, index) => {
        const asyncFinish = index === 0 || random.chance(0.8);
        return group.getDispatchLayout(each, numExperts, { out, asyncFinish });
      });
      const last = requests[requests.length - 1];
      const event = layouts.filter((layout) => layout.event.recorded).pop()?.event;
      if (random.chance(0.5)) event?.currentStreamWait();
      else await event?.wait();
      expectAsReference(layouts[layouts.length - 1], last, options);
      for (const layout of layouts) assert.isTrue(layout.event.done);
      // Waiting for an earlier one changes nothing any more
      layouts[0].event.currentStreamWait();
      expectAsReference(layouts[layouts.length - 1], last, options);
    }
  });

  it('hundreds under way, and none waited for but the last', async () => {
    const layouts: DispatchLayout[] = [];
    for (let call = 0; call < 300; call++) {
      layouts.push(group.getDispatchLayout(call % 2 === 0 ? request : other, numExperts, { asyncFinish: true }));
    }
    await layouts[299].event.wait();
    for (const index of [0, 1, 150, 298, 299]) {
      assert.isTrue(layouts[index].event.done);
      expectAsReference(layouts[index], index % 2 === 0 ? request : other, options);
    }
  });

  it('an invalid id is reported by the event, as often as asked, and nothing is written', async () => {
    for (const position of [0, 11_111, 23_999]) {
      const bad = withInvalidId(request, position);
      const expected = {
        code: 'INVALID_EXPERT',
        token: Math.floor(position / 8),
        slot: position % 8,
        value: bad.data[position],
      };
      const out = sharedOut(3000, numExperts, group);
      const layout = group.getDispatchLayout(bad, numExperts, { asyncFinish: true, out });
      const plain = group.getDispatchLayout({ ...bad, data: bad.data.slice() }, numExperts, { asyncFinish: true });
      const good = group.getDispatchLayout(request, numExperts, { asyncFinish: true });
      await expectRejection(layout.event.wait(), expected);
      expectError(() => layout.event.currentStreamWait(), expected);
      expectError(() => {
        using event = plain.event;
        assert.isTrue(event.recorded);
      }, expected);
      await good.event.wait();
      expectAsReference(good, request, options);
      expectUntouched(out);
    }
    const wide = [[2 ** 40, 1]];
    expectError(() => group.getDispatchLayout(wide, 256, { asyncFinish: true }).event.currentStreamWait(), {
      code: 'INVALID_EXPERT',
      value: 2 ** 40,
    });
  });

  it('previousEvent is awaited before the ids are read, and the caller goes on', async () => {
    for (const isShared of [true, false]) {
      const previous = new ManualEvent();
      const data = isShared ? sharedIds(random, 3000, 8, 8).data : request.data.slice();
      const before = data.slice();
      const reads = { ...request, data };
      const layout = group.getDispatchLayout(reads, numExperts, {
        asyncFinish: true,
        previousEvent: new EventOverlap(previous),
      });
      const later = group.getDispatchLayout(request, numExperts, { asyncFinish: true });
      await sleep(20);
      assert.isFalse(layout.event.done);
      assert.isFalse(later.event.done, 'those behind it wait, too');
      data.set(before.reverse() as never);
      previous.finish();
      await later.event.wait();
      assert.isTrue(layout.event.done);
      expectAsReference(layout, reads, options);
      expectAsReference(later, request, options);
      assert.deepEqual(previous.notes, ['wait']);
    }
  });

  it('a thread that waits waits for previousEvent, too', () => {
    const previous = new ManualEvent();
    const layout = group.getDispatchLayout(request, numExperts, {
      asyncFinish: true,
      previousEvent: new EventOverlap(previous),
    });
    const later = group.getDispatchLayout(other, numExperts, { asyncFinish: true });
    later.event.currentStreamWait();
    assert.deepEqual(previous.notes, ['wait', 'currentStreamWait']);
    assert.isTrue(layout.event.done);
    expectAsReference(layout, request, options);
    expectAsReference(later, other, options);
    const last = group.getDispatchLayout(other, numExperts);
    expectAsReference(last, other, options);
  });

  it('a previousEvent that fails: its error, nothing written, and the next layouts are computed', async () => {
    const failure = new Error('the stream broke');
    for (const isDone of [false, true]) {
      const previous = new ManualEvent();
      if (isDone) previous.finish(failure);
      const out = sharedOut(3000, numExperts, group);
      const layout = group.getDispatchLayout(request, numExperts, {
        asyncFinish: true,
        out,
        previousEvent: new EventOverlap(previous),
      });
      const later = group.getDispatchLayout(other, numExperts, { asyncFinish: true });
      if (!isDone) previous.finish(failure);
      let reason: unknown;
      await layout.event.wait().catch((error: unknown) => {
        reason = error;
      });
      assert.strictEqual(reason, failure);
      assert.throws(() => layout.event.currentStreamWait(), 'the stream broke');
      expectUntouched(out);
      await later.event.wait();
      expectAsReference(later, other, options);
    }
  });

  it('chains through several groups, some of them failing', async () => {
    const groups = [16, 8, 64].map((numRanks) => new ExpertGroup({ numRanks, device: 'wasm' }));
    const bad = withInvalidId(request, 5);
    for (let round = 0; round < 15; round++) {
      let previousEvent: EventOverlap | undefined;
      const layouts: { layout: DispatchLayout; request: SharedRequest; numRanks: number }[] = [];
      for (let link = 0; link < 12; link++) {
        const member = random.pick(groups);
        const each = random.pick([request, other, bad]);
        const layout = member.getDispatchLayout(each, numExperts, { asyncFinish: true, previousEvent });
        layouts.push({ layout, request: each, numRanks: member.numRanks });
        previousEvent = layout.event;
      }
      const reversed = random.chance(0.5) ? layouts.reverse() : layouts;
      for (const { layout, request: each, numRanks } of reversed) {
        const isBlocking = random.chance(0.5);
        if (each === bad && isBlocking) {
          expectError(() => layout.event.currentStreamWait(), { code: 'INVALID_EXPERT', token: 0, slot: 5 });
        } else if (each === bad) {
          await expectRejection(layout.event.wait(), { code: 'INVALID_EXPERT', token: 0, slot: 5 });
        } else {
          if (isBlocking) layout.event.currentStreamWait();
          else await layout.event.wait();
          expectAsReference(layout, each, { numRanks });
        }
      }
    }
  });

  it('an event that waits for the layout that waits for it: an error, no endless wait', () => {
    const circle: { layout?: DispatchLayout } = {};
    const previous = new ManualEvent(() => circle.layout?.event.currentStreamWait());
    circle.layout = group.getDispatchLayout(request, numExperts, {
      asyncFinish: true,
      previousEvent: new EventOverlap(previous),
    });
    expectError(() => circle.layout?.event.currentStreamWait(), { code: 'EVENT_FLAGS' });
    const inside = new ManualEvent(() => {
      expectAsReference(group.getDispatchLayout(other, numExperts), other, options);
    });
    const layout = group.getDispatchLayout(request, numExperts, {
      asyncFinish: true,
      previousEvent: new EventOverlap(inside),
    });
    layout.event.currentStreamWait();
    expectAsReference(layout, request, options);
  });

  it('an out that is not shared is written at once', () => {
    const out = new ExpertGroup({ ...options, device: 'js' }).getDispatchLayout(other, numExperts);
    const layout = group.getDispatchLayout(request, numExperts, { asyncFinish: true, out });
    assert.isTrue(layout.event.recorded);
    assert.isTrue(layout.event.done);
    expectAsReference(layout, request, options);
  });

  it('a small layout behind nothing is computed at once, its error still the event’s', () => {
    thresholds.background = usual.background;
    try {
      const layout = group.getDispatchLayout([[1, 2]], numExperts, { asyncFinish: true });
      assert.isTrue(layout.event.done);
      assert.instanceOf(layout.isTokenInRank.buffer, SharedArrayBuffer);
      assert.strictEqual(layout.numTokensPerRank[0], 1);
      const { event } = group.getDispatchLayout([[1, 999]], numExperts, { asyncFinish: true });
      expectError(() => event.currentStreamWait(), { code: 'INVALID_EXPERT', value: 999 });
    } finally {
      thresholds.background = 0;
    }
  });

  it('a worker that ends at any moment changes nothing', async () => {
    for (let round = 0; round < 20; round++) {
      const layouts = Array.from({ length: 6 }, () =>
        group.getDispatchLayout(request, numExperts, { asyncFinish: true }),
      );
      await sleep(random.below(4));
      threadPool()?.terminate();
      layouts.push(group.getDispatchLayout(other, numExperts, { asyncFinish: true }));
      if (random.chance(0.5)) layouts[random.below(7)].event.currentStreamWait();
      await layouts[6].event.wait();
      for (const layout of layouts.slice(0, 6)) expectAsReference(layout, request, options);
      expectAsReference(layouts[6], other, options);
    }
    await untilIdle(1);
  });

  it('together with threads', async () => {
    Object.assign(thresholds, { split: 1, wake: 1 });
    const both = new ExpertGroup({ ...options, threads: 2 });
    for (let call = 0; call < 60; call++) {
      const layout = both.getDispatchLayout(request, numExperts, { asyncFinish: true });
      const ofOther = new ExpertGroup({ ...options, threads: 2 }).getDispatchLayout(other, numExperts);
      expectAsReference(ofOther, other, options);
      await layout.event.wait();
      expectAsReference(layout, request, options);
    }
  });

  it('the process lives while someone waits, ends otherwise, and no error goes unhandled', async () => {
    const source = `
      import { ExpertGroup } from '${library}';
      const ids = new Int32Array(new SharedArrayBuffer(4 * 8 * 200000));
      const group = new ExpertGroup({ numRanks: 8 });
      const start = (ids) => group.getDispatchLayout({ data: ids, shape: [200000, 8] }, 64, { asyncFinish: true });
      const layout = start(ids);`;
    const run = async (rest: string) => {
      const args = ['--input-type=module', '--eval', source + rest];
      return (await promisify(execFile)(process.execPath, args, { timeout: 60_000 })).stdout.trim();
    };
    const [awaited, dropped, failed, never] = await Promise.all([
      run('await layout.event.wait(); console.log(layout.numTokensPerRank.join());'),
      run('console.log(layout.event.done);'),
      run('start(new Int32Array(200000 * 8).fill(64)); await start(ids).event.wait(); console.log("alive");'),
      run(`const never = { done: false, wait: () => new Promise(() => {}), currentStreamWait() {} };
        const { EventOverlap } = await import('${library}');
        group.getDispatchLayout([[1]], 64, { asyncFinish: true, previousEvent: new EventOverlap(never) });
        console.log('ends');`),
    ]);
    assert.deepEqual([awaited, dropped, failed, never], ['200000,0,0,0,0,0,0,0', 'false', 'alive', 'ends']);
  });
});
