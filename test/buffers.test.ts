/**
 * Buffers that are transferred, copied or resized while the library uses them: by `postMessage`, by `structuredClone`,
 * or by growth.
 */
import { once } from 'node:events';
import { runInNewContext } from 'node:vm';
import { MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { assert } from 'chai';
import {
  type DispatchLayout,
  EventOverlap,
  ExpertGroup,
  type ExpertPermutation,
  type ExpertPermutationArrays,
  expertEnds,
  expertOfBlock,
  expertOfRow,
  type LayoutArrays,
  type RankPermutation,
  type RankPermutationArrays,
} from 'dispatch-layout';
import { forOutputs, outputNames, outputs } from './conformance/oracle.ts';
import { detached, resizableBuffer } from './support/buffers.ts';
import { describeOnEachDevice } from './support/each-device.ts';
import { expectError } from './support/expect.ts';
import { expectUntouched, markedArrays } from './support/marked-arrays.ts';

const shape = [3, 2];
const ids = Int32Array.of(0, 5, 6, -1, 1, 0);
const options = { numRanks: 4, numRanksPerNode: 2 };
const expected = '2,0,1,1 2,2 2,1,0,0,0,1,1,0 1,0,1,0,0,0,0,1,1,0,0,0';

const print = (layout: LayoutArrays) => outputNames.map((name) => String(layout[name])).join(' ');

const arraysOf = (layout: LayoutArrays) => forOutputs((name) => layout[name]) as unknown as LayoutArrays;

/** Sends a value through a message port, as to another thread, and receives it at the other end. */
function send<Value>(value: Value, transfer: readonly ArrayBuffer[]): Value {
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(value, [...transfer]);
  const received = receiveMessageOnPort(port2) as { message: Value };
  port1.close();
  return received.message;
}

const move: Record<string, <Value>(value: Value, transfer: readonly ArrayBuffer[]) => Value> = {
  structuredClone: (value, transfer) => structuredClone(value, { transfer: [...transfer] }),
  'a message port': send,
};

describeOnEachDevice('buffers that move', (device) => {
  const group = device.createGroup(options);
  const layOut = (data: Int32Array, out?: LayoutArrays) => group.getDispatchLayout({ data, shape }, 8, { out });

  for (const [name, through] of Object.entries(move)) {
    it(`copied by ${name}: ids and results are as good as the originals`, () => {
      const layout = layOut(through(ids, []));
      const copy = through(arraysOf(layout), []);
      assert.strictEqual(print(copy), expected);
      copy.isTokenInRank.fill(9);
      assert.strictEqual(layOut(ids, copy).isTokenInRank, copy.isTokenInRank);
      assert.strictEqual(print(copy), expected);
      assert.strictEqual(print(layout), expected);
    });

    it(`transferred by ${name}: the arrays that arrive can be used, those that are left behind are refused`, () => {
      const data = Int32Array.from(ids);
      const arrived = through(data, [data.buffer]);
      assert.strictEqual(print(layOut(arrived)), expected);
      expectError(() => layOut(data), { code: 'DETACHED_BUFFER', message: /topkIdx/ });

      const arrays = arraysOf(layOut(ids));
      const buffers = Object.values(arrays).map((array: Int32Array) => array.buffer as ArrayBuffer);
      const received = through(arrays, buffers);
      assert.strictEqual(print(received), expected);
      expectError(() => layOut(ids, arrays), { code: 'DETACHED_BUFFER', message: /out\./ });
      received.numTokensPerRank.fill(9);
      assert.strictEqual(print(layOut(ids, received)), expected);
      assert.strictEqual(print(layOut(ids)), expected);
    });
  }

  it('a whole layout copied by structuredClone serves as out, but its event is not an event any more', () => {
    const copy = structuredClone(layOut(ids)) as DispatchLayout;
    assert.strictEqual(print(layOut(ids, copy)), expected);
    expectError(() => group.getDispatchLayout([[0]], 8, { previousEvent: copy.event }), { code: 'EVENT_FLAGS' });
  });

  it('a layout of a CPU device with a recorded event can be copied, too', () => {
    if (device.device === 'cuda') return;
    const layout = group.getDispatchLayout({ data: ids, shape }, 8, { asyncFinish: true });
    assert.strictEqual(print(structuredClone(layout) as DispatchLayout), expected);
    assert.deepStrictEqual(Object.keys(layout.event), []);
  });
});

describeOnEachDevice('memory that grows while views of it are alive', (device) => {
  const group = device.createGroup(options);

  /** Ids and results in WebAssembly memory that belongs to the caller. */
  function inMemory(memory: WebAssembly.Memory) {
    const { buffer } = memory;
    const data = new Int32Array(buffer, 0, 6);
    data.set(ids);
    let begin = 0;
    const out = forOutputs((name) => {
      const { type, lengthOf } = outputs[name];
      begin += 64;
      return new type(buffer, begin, lengthOf({ ...options, numTokens: 3, numExperts: 8 }) ?? 0);
    }) as unknown as LayoutArrays;
    return { topkIdx: { data, shape }, out };
  }

  it("the caller's memory, between calls: the old views are refused, and new ones see the same data", () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const before = inMemory(memory);
    assert.strictEqual(print(group.getDispatchLayout(before.topkIdx, 8, { out: before.out })), expected);
    memory.grow(1);
    expectError(() => group.getDispatchLayout(before.topkIdx, 8), { code: 'DETACHED_BUFFER', message: /topkIdx/ });
    expectError(() => group.getDispatchLayout([[0]], 8, { out: before.out }), { code: 'DETACHED_BUFFER' });
    assert.strictEqual(print({ ...inMemory(memory).out }), expected);
    const after = inMemory(memory);
    assert.strictEqual(print(group.getDispatchLayout(after.topkIdx, 8, { out: after.out })), expected);
  });

  it("the caller's memory, in a getter during the call: this is an error, and nothing is written", () => {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const { topkIdx, out } = inMemory(memory);
    const growing = {
      data: topkIdx.data,
      get shape() {
        memory.grow(1);
        return shape;
      },
    };
    expectError(() => group.getDispatchLayout(growing, 8, { out }), { code: 'DETACHED_BUFFER' });
    assert.isTrue(new Uint8Array(memory.buffer, 64, 256).every((byte) => byte === 0));
  });

  it("the caller's resizable buffer under a result: it is returned only as long as it fits", () => {
    const buffer = resizableBuffer(12, 64);
    const isTokenInRank = new Uint8Array(buffer);
    const first = { ...arraysOf(group.getDispatchLayout({ data: ids, shape }, 8)), isTokenInRank };
    const ofThree = group.getDispatchLayout({ data: ids, shape }, 8, { out: first });
    buffer.resize(20);
    const five = { data: Int32Array.of(0, 5, 6, -1, 1, 0, 7, 7, 2, 3), shape: [5, 2] };
    const ofFive = group.getDispatchLayout(five, 8, { out: ofThree });
    assert.strictEqual(ofFive.numTokens, 5);
    assert.strictEqual(ofFive.isTokenInRank.length, 20);
    assert.strictEqual(print(ofFive), print(group.getDispatchLayout(five, 8)));
  });

  it('an array of a result that was replaced is checked like the first', () => {
    const layOut = (data: Int32Array, out?: LayoutArrays) => group.getDispatchLayout({ data, shape }, 8, { out });
    const out = layOut(ids) as { -readonly [Name in keyof DispatchLayout]: DispatchLayout[Name] };
    assert.strictEqual(print(layOut(ids, out)), expected);
    out.numTokensPerExpert = new Int32Array(out.isTokenInRank.buffer as ArrayBuffer, 0, 3);
    expectError(() => layOut(ids, out), { code: 'OUT', message: /numTokensPerExpert/ });
    const shared = new ArrayBuffer(64);
    out.numTokensPerExpert = new Int32Array(shared, 0, 8);
    out.numTokensPerRank = new Int32Array(shared, 16, 4);
    expectError(() => layOut(ids, out), { code: 'OUT', message: /shares memory/ });
    out.numTokensPerRank = new Int32Array(shared, 32, 4);
    assert.strictEqual(print(layOut(ids, out)), expected);
  });

  it("the caller's resizable buffer: views that track its length go on working", () => {
    const buffer = resizableBuffer(24, 1024);
    const data = new Int32Array(buffer, 0, 6);
    const following = new Int32Array(buffer);
    data.set(ids);
    assert.strictEqual(print(group.getDispatchLayout({ data: following, shape }, 8)), expected);
    buffer.resize(1024);
    assert.strictEqual(print(group.getDispatchLayout({ data, shape }, 8)), expected);
    expectError(() => group.getDispatchLayout({ data: following, shape }, 8), { code: 'TOPK_SHAPE', message: /256/ });
    assert.strictEqual(print(group.getDispatchLayout({ data: following, shape, offset: 0 }, 8)), expected);
  });

  it('an event that shrinks or transfers arrays is an error, and nothing is written', () => {
    const buffer = resizableBuffer(64, 128);
    const eventThatRuns = (currentStreamWait: () => void) =>
      new EventOverlap({ done: false, currentStreamWait, wait: () => new Promise(() => {}) });
    const out = markedArrays({ ...options, numTokens: 8, numExperts: 8 });
    const shrinking = { out, previousEvent: eventThatRuns(() => buffer.resize(8)) };
    const topkIdx = { data: new Int32Array(buffer), shape: [8, 2] } as const;
    expectError(() => group.getDispatchLayout(topkIdx, 8, shrinking), { code: 'TOPK_SHAPE' });
    const transferring = { out, previousEvent: eventThatRuns(() => detached(out.numTokensPerExpert)) };
    const whole = { data: new Int32Array(16), shape: [8, 2] } as const;
    expectError(() => group.getDispatchLayout(whole, 8, transferring), { code: 'DETACHED_BUFFER' });
    expectUntouched(out);
  });

  it("the device's memory: earlier groups and results stay valid", () => {
    const layouts = [group.getDispatchLayout({ data: ids, shape }, 8)];
    // Ever more experts and slots need larger tables and rows, in the shared memory and in memories of their own.
    for (let size = 1; size <= 2 ** 20; size *= 4) {
      const larger = device.createGroup({ numRanks: 1 });
      const numTopk = Math.min(size, 2 ** 16);
      const topkIdx = { data: new Int32Array(numTopk).fill(size - 1), shape: [1, numTopk] };
      assert.strictEqual(larger.getDispatchLayout(topkIdx, size).numTokensPerExpert[size - 1], numTopk);
      layouts.push(group.getDispatchLayout({ data: ids, shape }, 8));
    }
    for (const layout of layouts) assert.strictEqual(print(layout), expected);
  });
});

describeOnEachDevice('buffers of orders of rows', (device) => {
  const group = device.createGroup(options);
  const aligned = { alignment: 2 } as const;
  const topkIdx = { data: ids, shape };
  const byExpert = (out?: ExpertPermutationArrays) => group.getExpertPermutation(topkIdx, 8, { ...aligned, out });
  const byRank = (out?: RankPermutationArrays) => group.getRankPermutation(topkIdx, 8, { out });
  const expertArrays = ({ numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection }: ExpertPermutation) => ({
    numTokensPerExpert,
    expertOffsets,
    selectionOfRow,
    rowOfSelection,
  });
  const rankArrays = ({ numTokensPerRank, rankOffsets, tokenOfRow, rowOfSelection }: RankPermutation) => ({
    numTokensPerRank,
    rankOffsets,
    tokenOfRow,
    rowOfSelection,
  });
  const printed = (arrays: object) => Object.values(arrays).map(String).join(' ');
  const right = {
    byExpert: '2,1,0,0,0,1,1,0 0,2,4,4,4,4,6,8,8 0,5,4,-1,1,-1,2,-1,-1,-1,-1,-1 0,4,6,-1,2,1',
    byRank: '2,0,1,1 0,2,2,3,4 0,2,0,1,-1,-1 0,2,3,-1,1,-1',
  };

  for (const [name, through] of Object.entries(move)) {
    it(`copied or transferred by ${name}: what arrives serves as out, and what is left behind is refused`, () => {
      const [order, sent] = [expertArrays(byExpert()), rankArrays(byRank())];
      assert.strictEqual(printed(order), right.byExpert);
      assert.strictEqual(printed(sent), right.byRank);
      const copy = through(order, []);
      copy.selectionOfRow.fill(9);
      assert.strictEqual(byExpert(copy).selectionOfRow, copy.selectionOfRow);
      assert.strictEqual(printed(copy), right.byExpert);
      const buffersOf = (arrays: object) =>
        Object.values(arrays).map((array) => (array as Int32Array<ArrayBuffer>).buffer);
      const arrived = through(sent, buffersOf(sent));
      assert.strictEqual(printed(rankArrays(byRank(arrived))), right.byRank);
      expectError(() => byRank(sent), { code: 'DETACHED_BUFFER', message: /out\./ });
      through(order, buffersOf(order));
      expectError(() => byExpert(order), { code: 'DETACHED_BUFFER', message: /out\.numTokensPerExpert/ });
      for (const helper of [expertEnds, expertOfRow]) {
        expectError(() => helper(order), { code: 'DETACHED_BUFFER', message: /permutation\.numTokensPerExpert/ });
      }
      assert.strictEqual(printed(expertArrays(byExpert())), right.byExpert);
    });
  }

  it('of another realm serve as out, and as what helpers take', () => {
    const other = runInNewContext('(...lengths) => lengths.map((length) => new Int32Array(length))');
    const [numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection] = other(8, 9, 12, 6) as Int32Array[];
    const out = { numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection };
    const order = byExpert(out);
    assert.strictEqual(order.selectionOfRow, selectionOfRow);
    assert.strictEqual(printed(expertArrays(order)), right.byExpert);
    assert.notInstanceOf(selectionOfRow, Int32Array);
    const results = [expertOfRow(order), expertEnds(order), expertOfBlock(order, 2)];
    for (const result of results) assert.instanceOf(result, Int32Array);
    assert.deepStrictEqual(results.map(String), ['0,0,1,-1,5,-1,6,-1,-1,-1,-1,-1', '2,3,4,4,4,5,7,8', '0,1,5,6,-1,-1']);
  });

  it('that are shared with other threads serve as ids and as out', () => {
    const shared = (length: number) => new Int32Array(new SharedArrayBuffer(4 * length));
    const data = shared(6);
    data.set(ids);
    const out = {
      numTokensPerRank: shared(4),
      rankOffsets: shared(5),
      tokenOfRow: shared(9),
      rowOfSelection: shared(6),
    };
    const sent = group.getRankPermutation({ data, shape }, 8, { out });
    assert.strictEqual(printed(rankArrays(sent)), right.byRank);
    assert.deepStrictEqual([...out.tokenOfRow], [0, 2, 0, 1, -1, -1, 0, 0, 0]);
  });

  it('that another thread writes to during a call make its result useless, but it does not fail', async () => {
    // These are more ids than the device wasm locates at a time, so it reads them twice
    const numTokens = 70_000;
    const data = new Int32Array(new SharedArrayBuffer(4 * 8 * numTokens));
    const worker = new Worker(
      `const { parentPort, workerData: data } = require('node:worker_threads');
      parentPort.postMessage('works');
      for (let i = 0; ; i++) data.fill(i % 2 === 0 ? 7 : 0);`,
      { eval: true, workerData: data },
    );
    await once(worker, 'message');
    const topkIdx = { data, shape: [numTokens, 8] };
    /** Whether fewer rows were written than were counted. */
    const isTorn = (counts: Int32Array, ofRow: Int32Array) =>
      counts.reduce((sum, count) => sum + count) > ofRow.filter((item) => item >= 0).length;
    let numTorn = 0;
    try {
      for (let call = 0; call < 5; call++) {
        const { numTokensPerExpert, selectionOfRow } = group.getExpertPermutation(topkIdx, 8);
        const { numTokensPerRank, tokenOfRow } = group.getRankPermutation(topkIdx, 8);
        numTorn += Number(isTorn(numTokensPerExpert, selectionOfRow)) + Number(isTorn(numTokensPerRank, tokenOfRow));
      }
    } finally {
      await worker.terminate();
    }
    if (device.name === 'wasm') assert.isAbove(numTorn, 0, 'the ids changed between the two times that they were read');
    data.fill(3);
    assert.strictEqual(group.getExpertPermutation(topkIdx, 8).numTokensPerExpert[3], 8 * numTokens);
  });

  it('that overlap each other or the ids are refused, and nothing is written', () => {
    const memory = new ArrayBuffer(1024);
    const at = (begin: number, length: number) => new Int32Array(memory, begin, length);
    const data = at(0, 6);
    data.set(ids);
    const apart = {
      numTokensPerRank: at(64, 4),
      rankOffsets: at(128, 5),
      tokenOfRow: at(192, 6),
      rowOfSelection: at(256, 6),
    };
    const compute = (out: RankPermutationArrays) => group.getRankPermutation({ data, shape }, 8, { out });
    for (const [wrong, message] of [
      [{ ...apart, rowOfSelection: at(20, 6) }, /out\.rowOfSelection shares memory with topkIdx/],
      [{ ...apart, tokenOfRow: at(144, 6) }, /out\.tokenOfRow shares memory with out\.rankOffsets/],
    ] as const) {
      expectError(() => compute(wrong), { code: 'OUT', message });
    }
    assert.isTrue(new Uint8Array(memory, 24).every((byte) => byte === 0));
    assert.strictEqual(printed(rankArrays(compute(apart))), right.byRank);
    // The same arrays are known by now, and one that was replaced is checked like the first
    assert.strictEqual(printed(rankArrays(compute({ ...apart }))), right.byRank);
    const sent = byRank() as { -readonly [Name in keyof RankPermutation]: RankPermutation[Name] };
    byRank(sent);
    sent.rowOfSelection = sent.tokenOfRow;
    expectError(() => byRank(sent), { code: 'OUT', message: /out\.rowOfSelection shares memory with out\.tokenOfRow/ });
  });

  it('that can be resized: a result is returned only as long as it fits', () => {
    const buffer = resizableBuffer(48, 256);
    const out = byExpert({ ...expertArrays(byExpert()), selectionOfRow: new Int32Array(buffer) });
    assert.strictEqual(printed(expertArrays(out)), right.byExpert);
    buffer.resize(44);
    expectError(() => byExpert(out), {
      code: 'OUT',
      message: /out\.selectionOfRow has 11 elements\. It needs at least 12/,
    });
    buffer.resize(80);
    const longer = byExpert(out);
    assert.notStrictEqual(longer, out);
    assert.strictEqual(printed(expertArrays(longer)), right.byExpert);
  });

  it('that an event or a getter transfers are an error, and nothing is written', () => {
    const marked = (length: number) => new Int32Array(length).fill(-77);
    const make = () => ({
      numTokensPerRank: marked(4),
      rankOffsets: marked(5),
      tokenOfRow: marked(6),
      rowOfSelection: marked(6),
    });
    // A detached array has no elements any more, and cannot be iterated over
    const arrayOrNone = (array: Int32Array) => (array.length === 0 ? [] : array);
    const isUntouched = (arrays: object) =>
      Object.values(arrays).every((array: Int32Array) => [...arrayOrNone(array)].every((value) => value === -77));
    const byEvent = make();
    const previousEvent = new EventOverlap({
      done: false,
      currentStreamWait: () => detached(byEvent.tokenOfRow),
      wait: () => new Promise(() => {}),
    });
    expectError(() => group.getRankPermutation(topkIdx, 8, { out: byEvent, previousEvent }), {
      code: 'DETACHED_BUFFER',
    });
    const byGetter = make();
    const growing = {
      data: ids,
      get shape() {
        if (byGetter.rankOffsets.length > 0) detached(byGetter.rankOffsets);
        return shape;
      },
    };
    expectError(() => group.getRankPermutation(growing, 8, { out: byGetter }), { code: 'DETACHED_BUFFER' });
    for (const arrays of [byEvent, byGetter]) assert.isTrue(isUntouched(arrays));
  });

  it('of the device that grow: earlier groups and results stay valid, also when the functions take turns', () => {
    const orders: [ExpertPermutation, RankPermutation][] = [];
    for (let size = 1; size <= 2 ** 20; size *= 8) {
      const larger = device.createGroup({ numRanks: 1 });
      const numTopk = Math.min(size, 2 ** 15);
      const wide = { data: new Int32Array(numTopk).fill(size - 1), shape: [1, numTopk] };
      assert.strictEqual(larger.getExpertPermutation(wide, size).numTokensPerExpert[size - 1], numTopk);
      assert.strictEqual(larger.getDispatchLayout(wide, size, { mask: 'bits' }).numTokensPerRank[0], 1);
      assert.strictEqual(larger.getRankPermutation(wide, size, { winner: 'last' }).rowOfSelection[numTopk - 1], 0);
      orders.push([byExpert(), byRank()]);
      assert.strictEqual(print(group.getDispatchLayout(topkIdx, 8)), expected);
    }
    for (const [order, sent] of orders) {
      assert.strictEqual(printed(expertArrays(order)), right.byExpert);
      assert.strictEqual(printed(rankArrays(sent)), right.byRank);
    }
  });
});

describe('the arrays of a workspace that are transferred', () => {
  for (const device of ['wasm', 'js'] as const) {
    it(`are an error, where they can be transferred (${device})`, () => {
      const workspace = new ExpertGroup({ numRanks: 4, device }).createWorkspace({
        numExperts: 8,
        maxTokens: 4,
        numTopk: 1,
      });
      const transfer = () => detached(workspace.topkIdx);
      if (device === 'wasm') {
        // Some runtimes refuse to transfer WASM memory; others copy it.
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
});
