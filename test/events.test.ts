/** Events, like DeepEP's `EventOverlap`: when one is recorded, who waits for what, and `using`. */
import { assert } from 'chai';
import { type DispatchLayout, type EventHandle, EventOverlap, ExpertGroup, getDispatchLayout } from 'dispatch-layout';
import { describeOnEachDevice } from './support/each-device.ts';
import { expectError, expectRejection } from './support/expect.ts';
import { expectUntouched, markedArrays } from './support/marked-arrays.ts';

const rows = [
  [0, 1],
  [2, 7],
];
const group = { numRanks: 4, numRanksPerNode: 2 };

/** A handle that records the calls of its methods. */
class NotingHandle implements EventHandle {
  readonly notes: string[] = [];
  done = false;

  currentStreamWait(): void {
    this.notes.push('currentStreamWait');
    this.done = true;
  }

  async wait(): Promise<void> {
    this.notes.push('wait');
    await Promise.resolve();
    this.done = true;
  }
}

describeOnEachDevice('events', (device) => {
  const run = (options = {}): DispatchLayout => device.getDispatchLayout(rows, 8, group, options);

  it('without asyncFinish, the event is not recorded, the outputs are valid, and waiting is an error', async () => {
    for (const options of [{}, { asyncFinish: false }, { asyncFinish: undefined }]) {
      const { event } = run(options);
      assert.instanceOf(event, EventOverlap);
      assert.isFalse(event.recorded);
      assert.isTrue(event.done);
      expectError(() => event.currentStreamWait(), { code: 'EVENT_NOT_RECORDED', message: /asyncFinish/ });
      await expectRejection(event.wait(), { code: 'EVENT_NOT_RECORDED' });
    }
  });

  it('wait() of an event that was not recorded rejects, and never throws', async () => {
    const promise = run().event.wait();
    assert.instanceOf(promise, Promise);
    await expectRejection(promise, { code: 'EVENT_NOT_RECORDED' });
  });

  it('with asyncFinish, the event is recorded, and can be waited for any number of times', async () => {
    const layout = run({ asyncFinish: true });
    const { event } = layout;
    assert.isTrue(event.recorded);
    assert.isUndefined(await event.wait());
    assert.isUndefined(event.currentStreamWait());
    await event.wait();
    assert.isTrue(event.done);
    assert.deepStrictEqual([...layout.numTokensPerRank], [1, 1, 0, 1]);
  });

  it('with asyncFinish, an invalid id is reported by the call on a CPU device, and by the event on cuda', async () => {
    const invalid = () => device.getDispatchLayout([[0, 8]], 8, group, { asyncFinish: true });
    const expected = { code: 'INVALID_EXPERT', token: 0, slot: 1, value: 8 };
    if (device.device !== 'cuda') return expectError(invalid, expected);
    const { event } = invalid();
    await expectRejection(event.wait(), expected);
    return expectError(() => event.currentStreamWait(), expected);
  });

  it('with asyncFinish, the work of a CPU device is done when the call returns', () => {
    const layout = run({ asyncFinish: true });
    if (device.device === 'cuda') layout.event.currentStreamWait();
    assert.isTrue(layout.event.done);
    assert.deepStrictEqual([...layout.numTokensPerRank], [1, 1, 0, 1]);
  });

  it('a recorded previousEvent is waited for, once, before the layout is computed', () => {
    const handle = new NotingHandle();
    const data = Int32Array.of(0, 0, 0, 0);
    const previousEvent = new EventOverlap({
      get done() {
        return handle.done;
      },
      currentStreamWait() {
        handle.currentStreamWait();
        // The layout must see this work.
        data.set([0, 1, 2, 7]);
      },
      wait: () => handle.wait(),
    });
    const layout = device.getDispatchLayout({ data, shape: [2, 2] }, 8, group, { previousEvent });
    assert.deepStrictEqual(handle.notes, ['currentStreamWait']);
    assert.deepStrictEqual([...layout.numTokensPerExpert], [1, 1, 1, 0, 0, 0, 0, 1]);
    assert.isFalse(layout.event.recorded);
  });

  it('a previousEvent is not waited for if the request is refused', () => {
    const handle = new NotingHandle();
    const previousEvent = new EventOverlap(handle);
    const ragged = { data: Int32Array.of(0), shape: [1, 2] } as const;
    expectError(() => device.getDispatchLayout(ragged, 8, group, { previousEvent }), { code: 'TOPK_SHAPE' });
    expectError(() => device.getDispatchLayout([[0]], 9, group, { previousEvent }), { code: 'UNEVEN_EXPERTS' });
    expectError(() => run({ previousEvent, allocateOnCommStream: true }), { code: 'EVENT_FLAGS' });
    assert.deepStrictEqual(handle.notes, []);
  });

  it('nested arrays are read after the event, as typed arrays are', () => {
    const nested = [[0, 0]];
    const previousEvent = new EventOverlap({
      done: false,
      currentStreamWait() {
        nested[0] = [2, 7];
        nested.push([0, 1]);
      },
      wait: () => Promise.resolve(),
    });
    const layout = device.getDispatchLayout(nested, 8, group, { previousEvent });
    assert.strictEqual(layout.numTokens, 2);
    assert.deepStrictEqual([...layout.numTokensPerExpert], [1, 1, 1, 0, 0, 0, 0, 1]);
  });

  it('an error of the wait reaches the caller, and nothing is written', () => {
    const failure = new Error('the stream broke');
    const previousEvent = new EventOverlap({
      done: false,
      currentStreamWait() {
        throw failure;
      },
      wait: () => Promise.reject(failure),
    });
    const out = markedArrays({ ...group, numTokens: 2, numExperts: 8 });
    assert.throws(() => run({ previousEvent, out }), 'the stream broke');
    expectUntouched(out);
    assert.deepStrictEqual([...run().numTokensPerRank], [1, 1, 0, 1]);
  });

  it('a previousEvent that was not recorded counts as none, as in DeepEP', () => {
    const layout = run({ previousEvent: run().event, asyncFinish: true });
    assert.isTrue(layout.event.recorded);
    layout.event.currentStreamWait();
    assert.deepStrictEqual([...layout.numTokensPerRank], [1, 1, 0, 1]);
  });

  it('events can be chained', () => {
    let previousEvent = new ExpertGroup(group).capture();
    for (let call = 0; call < 5; call += 1) {
      previousEvent = run({ previousEvent, asyncFinish: true, allocateOnCommStream: true }).event;
      assert.isTrue(previousEvent.recorded);
    }
    previousEvent.currentStreamWait();
    assert.isTrue(previousEvent.done);
  });

  it('flags that are false have no conditions', () => {
    assert.isFalse(run({ allocateOnCommStream: false }).event.recorded);
    assert.isFalse(run({ allocateOnCommStream: false, previousEvent: undefined, asyncFinish: false }).event.recorded);
  });

  it('each asynchronous call has an event of its own', () => {
    assert.notStrictEqual(run({ asyncFinish: true }).event, run({ asyncFinish: true }).event);
  });
});

describe('EventOverlap', () => {
  it('capture records an event on the current stream', async () => {
    const event = new ExpertGroup({ numRanks: 8 }).capture();
    assert.instanceOf(event, EventOverlap);
    assert.isTrue(event.recorded);
    await event.wait();
    assert.isTrue(event.done);
  });

  it('says what its handle says', async () => {
    const handle = new NotingHandle();
    const event = new EventOverlap(handle);
    assert.isTrue(event.recorded);
    assert.isFalse(event.done);
    await event.wait();
    assert.isTrue(event.done);
    event.currentStreamWait();
    assert.deepStrictEqual(handle.notes, ['wait', 'currentStreamWait']);
  });

  it('using waits when the block is left, also by an error', () => {
    const handle = new NotingHandle();
    {
      using event = new EventOverlap(handle);
      assert.isFalse(event.done);
      assert.deepStrictEqual(handle.notes, []);
    }
    assert.deepStrictEqual(handle.notes, ['currentStreamWait']);
    assert.throws(() => {
      using _event = new EventOverlap(handle);
      throw new Error('inside');
    }, 'inside');
    assert.deepStrictEqual(handle.notes, ['currentStreamWait', 'currentStreamWait']);
  });

  it('using an event that was not recorded does nothing', () => {
    const layout = getDispatchLayout(rows, 8, group);
    {
      using event = layout.event;
      assert.isFalse(event.recorded);
    }
    assert.isTrue(layout.event.done);
  });

  it('a wait that fails rejects with the reason', async () => {
    const event = new EventOverlap({
      done: false,
      currentStreamWait() {},
      wait: () => Promise.reject(new Error('lost')),
    });
    let message = '';
    await event.wait().catch((reason: Error) => {
      message = reason.message;
    });
    assert.strictEqual(message, 'lost');
  });
});
