/** Layouts of tensors on the GPU: the same results, without copies, and in DeepEP's order of streams. */
import { assert } from 'chai';
import {
  type DispatchLayout,
  EventOverlap,
  ExpertGroup,
  getDispatchLayout,
  InvalidExpertError,
  type LayoutArrays,
} from 'dispatch-layout';
import { type DeviceDispatchLayout, DeviceTensor, Stream } from 'dispatch-layout/cuda';
import { forOutputs, packRows } from '../conformance/oracle.ts';
import { expectArrays, expectError, expectRejection } from '../support/expect.ts';
import { Random } from '../support/random.ts';
import { type IdArray, type IdType, idArray, idRange, idTypeNames } from '../support/topk-storage.ts';
import { describeOnCuda } from './on-cuda.ts';
import { reference, toHost } from './reference.ts';

function randomIds(random: Random, type: IdType, numTokens: number, numTopk: number, numExperts: number): IdArray {
  const smallest = Number(idRange[type][0] < 0n ? -1 : 0);
  const largest = Math.min(numExperts - 1, Number(idRange[type][1]));
  return idArray(
    type,
    Array.from({ length: numTokens * numTopk }, () => random.between(smallest, largest)),
  );
}

const rows = { data: Int32Array.of(0, 1, 2, 7, -1, 5), shape: [3, 2] } as const;
const group = { numRanks: 4, numRanksPerNode: 2 };
const expected = reference(rows, 8, group);
const invalid = { data: BigInt64Array.of(0n, 1n, 2n, 99n, -1n, -5n), shape: [3, 2] } as const;

describeOnCuda('layouts of tensors', () => {
  it('have the shape, types and device', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    using layout = getDispatchLayout(topkIdx, 8, group);
    expectArrays(toHost(layout), expected);
    const { numTokens, numTopk, numExperts, numRanks, numRdmaRanks, device, event } = layout;
    assert.deepInclude(
      { numTokens, numTopk, numExperts, numRanks, numRdmaRanks, device },
      { numTokens: 3, numTopk: 2, numExperts: 8, numRanks: 4, numRdmaRanks: 2, device: 'cuda' },
    );
    assert.isFalse(event.recorded);
    assert.deepStrictEqual([...layout.isTokenInRank.shape], [3, 4]);
    assert.strictEqual(layout.isTokenInRank.dtype, 'uint8');
    assert.strictEqual(new ExpertGroup({ ...group, device: 'auto' }).getDispatchLayout(topkIdx, 8).device, 'cuda');
  });

  it('have no RDMA ranks within one node', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    assert.isNull(getDispatchLayout(topkIdx, 8, { numRanks: 4 }).numTokensPerRdmaRank);
  });

  it('are those of the reference, for random ids', () => {
    const random = new Random(11);
    for (let call = 0; call < 60; call += 1) {
      const numRanksPerNode = random.pick([1, 4, 8]);
      const numRanks = numRanksPerNode * random.pick([1, 2, 8, 9]);
      const numExperts = numRanks * random.pick([1, 2, 4]);
      const [numTokens, numTopk] = [random.pick([0, 1, 31, 64, 500]), random.pick([0, 1, 3, 8, 10])];
      const data = randomIds(random, random.pick(idTypeNames), numTokens, numTopk, numExperts);
      const placement = random.chance(0.5)
        ? Array.from({ length: numExperts }, () => random.below(numRanks))
        : undefined;
      const options = { numRanks, numRanksPerNode, placement };
      const shape = [numTokens, numTopk] as const;
      using topkIdx = DeviceTensor.from(data, shape);
      using layout = new ExpertGroup(options).getDispatchLayout(topkIdx, numExperts);
      expectArrays(toHost(layout), reference({ data, shape }, numExperts, options));
    }
  });

  it('accept rows that are not contiguous', () => {
    using wide = DeviceTensor.from(Int16Array.of(9, 0, 1, 9, 9, 2, 7, 9, 9, -1, 5, 9), [3, 4]);
    using topkIdx = wide.strided([3, 2], [4, 1], 1);
    using layout = getDispatchLayout(topkIdx, 8, group);
    expectArrays(toHost(layout), expected);
    using columns = wide.strided([2, 3], [1, 4], 1);
    expectError(() => getDispatchLayout(columns, 8, group), { code: 'TOPK_SHAPE', message: /apart/ });
    using flat = DeviceTensor.from(rows.data);
    expectError(() => getDispatchLayout(flat, 8, group), { code: 'TOPK_SHAPE' });
  });

  it('are written to tensors of the caller', () => {
    const expertGroup = new ExpertGroup({ ...group, device: 'cuda' });
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    using out = expertGroup.getDispatchLayout(topkIdx, 8);
    using again = expertGroup.getDispatchLayout(topkIdx, 8, { out });
    assert.strictEqual(again.numTokensPerRank, out.numTokensPerRank);
    assert.strictEqual(again.isTokenInRank, out.isTokenInRank);
    expectArrays(toHost(again), expected);
    using large = DeviceTensor.empty([100], 'uint8');
    using view = expertGroup.getDispatchLayout(topkIdx, 8, { out: { ...out, isTokenInRank: large } });
    assert.strictEqual(view.isTokenInRank.pointer, large.pointer);
    expectArrays(toHost(view), expected);

    for (const wrong of [
      null,
      expected,
      { ...out, numTokensPerRank: out.numTokensPerExpert },
      { ...out, isTokenInRank: DeviceTensor.empty([11], 'uint8') },
      { ...out, isTokenInRank: DeviceTensor.empty([12], 'int32') },
      { ...out, numTokensPerRdmaRank: null },
      { ...out, numTokensPerRank: topkIdx.strided([4], [1]) },
    ]) {
      const call = () => expertGroup.getDispatchLayout(topkIdx, 8, { out: wrong as DeviceDispatchLayout });
      expectError(call, { code: 'OUT' });
    }
  });

  it('leave tensors of the caller to the caller', () => {
    const expertGroup = new ExpertGroup({ ...group, device: 'cuda' });
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    using own = expertGroup.getDispatchLayout(topkIdx, 8);
    using mask = DeviceTensor.empty([64], 'uint8');
    for (const out of [own, { ...own, isTokenInRank: mask }]) {
      const layout = expertGroup.getDispatchLayout(topkIdx, 8, { out });
      layout[Symbol.dispose]();
      assert.isFalse(own.numTokensPerRank.isDisposed);
      assert.isFalse(layout.isTokenInRank.isDisposed);
      // The view of a larger mask is disposed of with the mask, and does not keep its memory.
      if (out !== own) mask.dispose();
      assert.strictEqual(layout.isTokenInRank.isDisposed, out !== own);
    }
    expectArrays(toHost(own), expected);
  });

  it('go into the tensors that each call passes, whatever objects were passed before', () => {
    const expertGroup = new ExpertGroup({ ...group, device: 'cuda' });
    const others = { data: Int32Array.from(rows.data, (id) => (id < 0 ? id : 7 - id)), shape: rows.shape };
    const inputs = [rows, others].map((input) => ({
      tensor: DeviceTensor.from(input.data, input.shape),
      right: reference(input, 8, group),
    }));
    const first = expertGroup.getDispatchLayout(inputs[0].tensor, 8);
    const second = expertGroup.getDispatchLayout(inputs[0].tensor, 8);
    // All of them have the first tensor in common
    const outs = [
      first,
      { ...first, isTokenInRank: second.isTokenInRank },
      { ...second, numTokensPerRank: first.numTokensPerRank },
    ];
    for (let call = 0; call < 24; call++) {
      const { tensor, right } = inputs[call % 2];
      const out = { ...outs[call % 3] };
      const layout = expertGroup.getDispatchLayout(tensor, 8, { out });
      assert.strictEqual(layout.isTokenInRank, out.isTokenInRank);
      expectArrays(toHost(layout), right);
    }
    second.isTokenInRank.dispose();
    expectError(() => expertGroup.getDispatchLayout(inputs[0].tensor, 8, { out: { ...outs[1] } }), {
      code: 'DISPOSED',
    });
  });

  it('refuse outputs between the rows of the input only if they overlap the rows', () => {
    using memory = DeviceTensor.from(new Int32Array(1000).fill(1));
    using out = getDispatchLayout(memory.strided([4, 2], [2, 1]), 8, group);
    for (const [strides, offset, begin] of [
      [[100, 1], 0, 300],
      [[-100, 1], 300, 0],
    ] as const) {
      const topkIdx = memory.strided([4, 2], strides, offset);
      const wrong = { ...out, numTokensPerRank: memory.strided([4], [1], begin) };
      expectError(() => getDispatchLayout(topkIdx, 8, { ...group, out: wrong }), { code: 'OUT', message: /shares/ });
      const right = { ...out, numTokensPerRank: memory.strided([4], [1], 302) };
      getDispatchLayout(topkIdx, 8, { ...group, out: right });
    }
  });

  it('refuse sizes beyond any memory, and accept any number of slots without tokens', () => {
    using many = DeviceTensor.empty([2 ** 50, 0], 'int32');
    expectError(() => getDispatchLayout(many, 16384, { numRanks: 16384 }), { code: 'TOO_LARGE', message: /16384/ });
    using none = DeviceTensor.empty([0, 2 ** 31], 'int32');
    using layout = getDispatchLayout(none, 8, group);
    assert.deepStrictEqual([...layout.numTokensPerExpert.toTypedArray()], [0, 0, 0, 0, 0, 0, 0, 0]);
    assert.strictEqual(layout.numTopk, 2 ** 31);
    const onHost = { data: new Int32Array(0), shape: [0, 2 ** 31] } as const;
    assert.strictEqual(getDispatchLayout(onHost, 8, { ...group, device: 'cuda' }).numTopk, 2 ** 31);
  });

  it('are refused before anything runs', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    for (const device of ['wasm', 'js'] as const) {
      expectError(() => getDispatchLayout(topkIdx, 8, { ...group, device }), {
        code: 'OPTION',
        message: /^topkIdx is on 'cuda', and the group's device is/,
      });
    }
    expectError(() => getDispatchLayout(topkIdx, 9, group), { code: 'UNEVEN_EXPERTS' });
    expectError(() => getDispatchLayout(topkIdx, 8, { ...group, allocateOnCommStream: true }), { code: 'EVENT_FLAGS' });
    const gone = DeviceTensor.from(rows.data, rows.shape);
    gone.dispose();
    expectError(() => getDispatchLayout(gone, 8, group), { code: 'DISPOSED' });
  });
});

describeOnCuda('ids on the GPU that are not experts', () => {
  const offence = { code: 'INVALID_EXPERT', token: 1, slot: 1, value: 99n };

  it('are reported when a result is copied to the host', async () => {
    using topkIdx = DeviceTensor.from(invalid.data, invalid.shape);
    using layout = getDispatchLayout(topkIdx, 8, group);
    expectError(() => layout.numTokensPerRank.toTypedArray(), offence);
    await expectRejection(layout.isTokenInRank.toTypedArrayAsync(), offence);
  });

  it('are reported by the event', async () => {
    using topkIdx = DeviceTensor.from(invalid.data, invalid.shape);
    using layout = getDispatchLayout(topkIdx, 8, { ...group, asyncFinish: true });
    layout.event.currentStreamWait();
    await expectRejection(layout.event.wait(), offence);
  });

  it('are reported by the next call of the group, once', async () => {
    const expertGroup = new ExpertGroup({ ...group, device: 'cuda' });
    using good = DeviceTensor.from(rows.data, rows.shape);
    for (const next of [good, rows] as const) {
      using topkIdx = DeviceTensor.from(invalid.data, invalid.shape);
      using _bad = expertGroup.getDispatchLayout(topkIdx, 8);
      await Stream.current.wait();
      const call = (): unknown =>
        next === good ? expertGroup.getDispatchLayout(good, 8) : expertGroup.getDispatchLayout(rows, 8);
      expectError(call, offence);
      call();
    }
    expectArrays(expertGroup.getDispatchLayout(rows, 8), expected);
  });

  it('are reported once by a later call as those of an earlier layout, also with another number of experts', async () => {
    const expertGroup = new ExpertGroup({ ...group, device: 'cuda' });
    using good = DeviceTensor.from(rows.data, rows.shape);
    using topkIdx = DeviceTensor.from(invalid.data, invalid.shape);
    using _bad = expertGroup.getDispatchLayout(topkIdx, 8);
    await Stream.current.wait();
    // A call that ignores such ids does not report those of other calls.
    using _ignoring = expertGroup.getDispatchLayout(good, 8, { invalidExperts: 'ignore' });
    expectError(() => expertGroup.getDispatchLayout(good, 16), {
      ...offence,
      message: /^in an earlier layout, topkIdx\[1\]\[1\] is 99, not an expert in \[0, 8\)/,
    });
    using _fine = expertGroup.getDispatchLayout(good, 8);
  });

  it('are reported by views of results, and by a larger mask of the caller', () => {
    using topkIdx = DeviceTensor.from(invalid.data, invalid.shape);
    using layout = getDispatchLayout(topkIdx, 8, group);
    using view = layout.numTokensPerExpert.strided([4], [1]);
    expectError(() => view.toTypedArray(), offence);
    using mask = DeviceTensor.empty([64], 'uint8');
    using again = new ExpertGroup(group).getDispatchLayout(topkIdx, 8, { out: { ...layout, isTokenInRank: mask } });
    expectError(() => mask.toTypedArray(), offence);
    expectError(() => again.isTokenInRank.toTypedArray(), offence);
    using good = DeviceTensor.from(rows.data, rows.shape);
    new ExpertGroup(group).getDispatchLayout(good, 8, { out: layout });
    assert.deepStrictEqual(view.toTypedArray(), expected.numTokensPerExpert.slice(0, 4));
  });

  it('are reported with their value, even if their tensor was disposed of', async () => {
    const topkIdx = DeviceTensor.from(invalid.data, invalid.shape);
    const layout = getDispatchLayout(topkIdx, 8, { ...group, asyncFinish: true });
    topkIdx.dispose();
    // The memory is used again by now
    using _other = DeviceTensor.from(new BigInt64Array(invalid.data.length), invalid.shape);
    await expectRejection(layout.event.wait(), offence);
  });

  it('are skipped if the call ignores them', () => {
    using topkIdx = DeviceTensor.from(invalid.data, invalid.shape);
    using layout = getDispatchLayout(topkIdx, 8, { ...group, invalidExperts: 'ignore' });
    expectArrays(toHost(layout), reference(invalid, 8, { ...group, invalidExperts: 'ignore' }));
  });
});

describeOnCuda('an empty id', () => {
  const numExperts = 16;
  const options = { numRanks: 8, numRanksPerNode: 4 };
  const emptyIds = [0n, 7n, 15n, 16n, -1n, -2n, 127n, 128n, 255n, 2n ** 31n - 1n, 2n ** 32n - 1n]
    .concat([2n ** 32n + 5n, 2n ** 63n - 1n, 2n ** 64n - 1n, -(2n ** 63n)])
    .map((id) => (Number.isSafeInteger(Number(id)) ? Number(id) : id));

  /** The arrays of a layout, or what its error says. */
  function outcome(compute: () => LayoutArrays): unknown {
    try {
      const layout = compute();
      return forOutputs((name) => layout[name]);
    } catch (error) {
      if (!(error instanceof InvalidExpertError)) throw error;
      const { token, slot, value } = error;
      return { token, slot, value };
    }
  }

  it('is skipped in tensors and host arrays of every type, and is not invalid', () => {
    const random = new Random(17);
    for (const type of idTypeNames) {
      const [smallest, largest] = idRange[type];
      for (const emptyId of emptyIds) {
        const fits = smallest <= emptyId && emptyId <= largest;
        for (const invalidExperts of ['throw', 'ignore'] as const) {
          const ids: (number | bigint)[] = [...randomIds(random, type, 40, 4, numExperts)];
          for (const index of ids.keys()) if (fits && random.chance(0.3)) ids[index] = emptyId;
          if (random.chance(0.5)) ids[random.below(160)] = random.pick([numExperts, 127]);
          const topkIdx = { data: idArray(type, ids), shape: [40, 4] } as const;
          const call = { ...options, emptyId, invalidExperts };
          const right = outcome(() => reference(topkIdx, numExperts, call));
          const onHost = outcome(() => getDispatchLayout(topkIdx, numExperts, { ...call, device: 'cuda' }));
          assert.deepStrictEqual(onHost, right, `${type}, emptyId ${emptyId}`);
          using tensor = DeviceTensor.from(topkIdx.data, topkIdx.shape);
          using layout = new ExpertGroup(options).getDispatchLayout(tensor, numExperts, { emptyId, invalidExperts });
          assert.deepStrictEqual(
            outcome(() => toHost(layout)),
            right,
            `a tensor of ${type}, emptyId ${emptyId}`,
          );
        }
      }
    }
  });

  it('that was written over an invalid id is not reported instead of it', async () => {
    const expertGroup = new ExpertGroup({ numRanks: 2, device: 'cuda' });
    const data = Int32Array.of(99, 0);
    const { event } = expertGroup.getDispatchLayout({ data, shape: [1, 2] }, 8, { emptyId: 9, asyncFinish: true });
    data.fill(9);
    await expectRejection(event.wait(), { code: 'INVALID_EXPERT', token: 0, slot: 0, value: 99 });

    using topkIdx = DeviceTensor.from(Int32Array.of(99, 0), [1, 2]);
    using layout = expertGroup.getDispatchLayout(topkIdx, 8, { emptyId: 9 });
    // The counts of 9 tokens, all of which go to both ranks
    const other = new ExpertGroup({ numRanks: 2 });
    using tokens = DeviceTensor.from(
      Int32Array.from({ length: 18 }, (_, index) => (index % 2) * 4),
      [9, 2],
    );
    using counts = other.getDispatchLayout(tokens, 8);
    other.getDispatchLayout(tokens, 8, { out: { ...counts, numTokensPerRank: topkIdx.strided([2], [1]) } });
    assert.deepStrictEqual([...topkIdx.toTypedArray()], [9, 9]);
    expectError(() => layout.numTokensPerRank.toTypedArray(), { code: 'INVALID_EXPERT', token: 0, slot: 0, value: 99 });
  });
});

describeOnCuda("mask: 'none'", () => {
  const withoutMask = { ...expected, isTokenInRank: null };
  const options = { ...group, mask: 'none' } as const;

  it('tensors: the counts without a mask, into new tensors and into those of the caller', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    using layout = getDispatchLayout(topkIdx, 8, options);
    expectArrays(toHost(layout), withoutMask);
    using tokens = DeviceTensor.from(Int32Array.of(7, -1), [1, 2]);
    using again = getDispatchLayout(tokens, 8, { ...options, out: layout });
    assert.strictEqual(again.numTokensPerRank, layout.numTokensPerRank);
    assert.deepStrictEqual([...again.numTokensPerRank.toTypedArray()], [0, 0, 0, 1]);
    using whole = getDispatchLayout(topkIdx, 8, group);
    const call = (out: unknown) => () => getDispatchLayout(topkIdx, 8, { ...options, out: out as typeof layout });
    expectError(call(whole), { code: 'OUT', message: /isTokenInRank .* It must be null with mask: 'none'\./ });
    expectError(() => getDispatchLayout(topkIdx, 8, { ...group, out: layout as unknown as typeof whole }), {
      code: 'OUT',
      message: /isTokenInRank/,
    });
  });

  it('host arrays: the same, also if their event is waited for', async () => {
    const expertGroup = new ExpertGroup({ ...group, device: 'cuda' });
    const layout = expertGroup.getDispatchLayout(rows, 8, { mask: 'none' });
    expectArrays(layout as unknown as LayoutArrays, withoutMask);
    const later = expertGroup.getDispatchLayout(rows, 8, { mask: 'none', asyncFinish: true });
    await later.event.wait();
    expectArrays(later as unknown as LayoutArrays, withoutMask);
    expectArrays(expertGroup.getDispatchLayout(rows, 8), expected);
  });
});

describeOnCuda("mask: 'bits'", () => {
  const ofBits = { ...expected, isTokenInRank: packRows(expected.isTokenInRank, 4) };
  const options = { ...group, mask: 'bits' } as const;

  it('tensors: rows of bytes of eight ranks each, into new tensors and into those of the caller', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    using layout = getDispatchLayout(topkIdx, 8, options);
    assert.deepStrictEqual([...layout.isTokenInRank.shape], [3, 1]);
    assert.strictEqual(layout.isTokenInRank.dtype, 'uint8');
    expectArrays(toHost(layout), ofBits);
    using again = getDispatchLayout(topkIdx, 8, { ...options, out: layout });
    assert.strictEqual(again.isTokenInRank, layout.isTokenInRank);
    // A tensor for rows of bytes has room for rows of bits, and not the other way round
    using ofBytes = getDispatchLayout(topkIdx, 8, group);
    using view = getDispatchLayout(topkIdx, 8, { ...options, out: ofBytes });
    expectArrays(toHost(view), ofBits);
    assert.strictEqual(view.isTokenInRank.pointer, ofBytes.isTokenInRank.pointer);
    expectError(() => getDispatchLayout(topkIdx, 8, { ...group, out: layout }), {
      code: 'OUT',
      message: /isTokenInRank has 3 elements. It needs at least 12/,
    });
  });

  it('layouts of every kind of kernel', () => {
    for (const [numTokens, numTopk, numExperts, numRanks, numRanksPerNode] of [
      [1000, 8, 256, 64, 8],
      [70, 6, 60, 12, 4],
      [300, 8, 264, 33, 3],
      [300, 8, 288, 72, 72],
      [1000, 10, 640, 320, 8],
      [70, 4, 60000, 20, 5],
    ]) {
      const ids = Int32Array.from({ length: numTokens * numTopk }, (_, i) => ((i * 7919) % (numExperts + 1)) - 1);
      const shape = [numTokens, numTopk] as const;
      using topkIdx = DeviceTensor.from(ids, shape);
      const common = { numRanks, numRanksPerNode, mask: 'bits', invalidExperts: 'ignore' } as const;
      for (const emptyId of [undefined, 5]) {
        const right = reference({ data: ids, shape }, numExperts, { ...common, emptyId });
        using layout = getDispatchLayout(topkIdx, numExperts, { ...common, emptyId });
        expectArrays(toHost(layout), right);
        const onHost = getDispatchLayout({ data: ids, shape }, numExperts, { ...common, emptyId, device: 'cuda' });
        expectArrays(onHost, right);
      }
    }
  });
});

/** Queues work on a GPU that is slow for a moment. Only the fake GPU obeys this setting. */
function slowly<Result>(queue: () => Result): Result {
  process.env.FAKE_CUDA_SLOW = '100';
  try {
    return queue();
  } finally {
    // Kernels read the setting when they run.
    setTimeout(() => delete process.env.FAKE_CUDA_SLOW, 50);
  }
}

describeOnCuda('streams and events of layouts', () => {
  const numTokens = 2000;
  const ids = randomIds(new Random(5), 'int64', numTokens, 8, 64);
  const options = { numRanks: 16, device: 'cuda' } as const;
  const right = reference({ data: ids, shape: [numTokens, 8] }, 64, { numRanks: 16 });

  it('with asyncFinish, the event says when the outputs are valid', async () => {
    const expertGroup = new ExpertGroup(options);
    using topkIdx = DeviceTensor.from(ids, [numTokens, 8]);
    using layout = expertGroup.getDispatchLayout(topkIdx, 64, { asyncFinish: true });
    assert.isTrue(layout.event.recorded);
    await layout.event.wait();
    assert.isTrue(layout.event.done);
    expectArrays(toHost(layout), right);
    using second = expertGroup.getDispatchLayout(topkIdx, 64, { asyncFinish: true });
    second.event.currentStreamWait();
    expectArrays(toHost(second), right);
  });

  it('previousEvent orders a layout after the work of another stream', async () => {
    const expertGroup = new ExpertGroup(options);
    const producer = new Stream();
    for (let call = 0; call < 20; call += 1) {
      using topkIdx = producer.run(() => DeviceTensor.from(ids, [numTokens, 8]));
      const previousEvent = producer.record();
      using layout = expertGroup.getDispatchLayout(topkIdx, 64, {
        previousEvent,
        asyncFinish: true,
        allocateOnCommStream: call % 2 === 0,
      });
      await layout.event.wait();
      expectArrays(toHost(layout), right);
    }
  });

  it('without previousEvent, a layout is ordered after the current stream, and the stream after the layout', () => {
    const expertGroup = new ExpertGroup(options);
    const stream = new Stream();
    for (let call = 0; call < 20; call += 1) {
      stream.run(() => {
        using topkIdx = DeviceTensor.from(ids, [numTokens, 8]);
        using layout = expertGroup.getDispatchLayout(topkIdx, 64);
        expectArrays(toHost(layout), right);
      });
    }
  });

  it('the memory of tensors that are disposed of at once outlives the work that uses it', async () => {
    const expertGroup = new ExpertGroup(options);
    const layouts: DeviceDispatchLayout[] = [];
    for (let call = 0; call < 50; call += 1) {
      const topkIdx = DeviceTensor.from(ids, [numTokens, 8]);
      layouts.push(expertGroup.getDispatchLayout(topkIdx, 64, { asyncFinish: call % 2 === 0 }));
      topkIdx.dispose();
      if (call % 3 === 0) layouts.pop()?.[Symbol.dispose]();
    }
    for (const layout of layouts) {
      if (layout.event.recorded) await layout.event.wait();
      expectArrays(toHost(layout), right);
      layout[Symbol.dispose]();
    }
  });

  it('layouts of one group run one after the other, with any numbers of experts', async () => {
    using topkIdx = DeviceTensor.from(ids, [numTokens, 8]);
    const expertGroup = new ExpertGroup(options);
    const early = expertGroup.capture();
    const late = slowly(() => new ExpertGroup(options).getDispatchLayout(topkIdx, 64, { asyncFinish: true }).event);
    const first = expertGroup.getDispatchLayout(topkIdx, 64, { previousEvent: late, asyncFinish: true });
    const second = expertGroup.getDispatchLayout(topkIdx, 128, { previousEvent: early, asyncFinish: true });
    await second.event.wait();
    assert.isTrue(first.event.done);
  });

  it('capture of an auto group that has not used the GPU yet is ordered after the current stream', async () => {
    const stream = new Stream();
    const expertGroup = new ExpertGroup({ ...options, device: 'auto' });
    const [topkIdx, previousEvent] = slowly(() =>
      stream.run(() => {
        using other = DeviceTensor.from(ids, [numTokens, 8]);
        using _slow = new ExpertGroup(options).getDispatchLayout(other, 64);
        return [DeviceTensor.from(ids, [numTokens, 8]), expertGroup.capture()] as const;
      }),
    );
    using layout = expertGroup.getDispatchLayout(topkIdx, 64, { previousEvent, asyncFinish: true });
    await layout.event.wait();
    expectArrays(toHost(layout), right);
    topkIdx.dispose();
  });

  it('groups run side by side, each on a stream of its own', async () => {
    const groups = Array.from({ length: 4 }, () => new ExpertGroup(options));
    using topkIdx = DeviceTensor.from(ids, [numTokens, 8]);
    const layouts = Array.from({ length: 20 }, (_, call) =>
      groups[call % 4].getDispatchLayout(topkIdx, 64, { asyncFinish: true }),
    );
    await Promise.all(layouts.map(({ event }) => event.wait()));
    for (const layout of layouts) expectArrays(toHost(layout), right);
  });

  it('host arrays with asyncFinish are written when the event is waited for', async () => {
    const expertGroup = new ExpertGroup(options);
    const request = { data: BigInt64Array.from(ids as BigInt64Array), shape: [numTokens, 8] } as const;
    const layouts: DispatchLayout[] = [];
    for (let call = 0; call < 3; call += 1)
      layouts.push(expertGroup.getDispatchLayout(request, 64, { asyncFinish: true }));
    request.data.fill(0n);
    await layouts[0].event.wait();
    layouts[1].event.currentStreamWait();
    {
      using _event = layouts[2].event;
    }
    for (const layout of layouts) {
      assert.isTrue(layout.event.done);
      expectArrays(layout, right);
    }
  });

  it('host arrays with asyncFinish: the event reports ids that are not experts, and nothing is written', async () => {
    const expertGroup = new ExpertGroup({ ...group, device: 'cuda' });
    const offence = { code: 'INVALID_EXPERT', token: 1, slot: 1, value: 99n };
    const data = invalid.data.slice();
    const layout = expertGroup.getDispatchLayout({ data, shape: invalid.shape }, 8, { asyncFinish: true });
    data.fill(0n);
    await expectRejection(layout.event.wait(), offence);
    expectError(() => layout.event.currentStreamWait(), offence);
    assert.isTrue(layout.isTokenInRank.every((value) => value === 0));
  });

  it('host arrays that are transferred away before the event are an error of the event', async () => {
    const layout = new ExpertGroup(options).getDispatchLayout({ data: ids, shape: [numTokens, 8] }, 64, {
      asyncFinish: true,
    });
    structuredClone(layout.isTokenInRank, { transfer: [layout.isTokenInRank.buffer as ArrayBuffer] });
    await expectRejection(layout.event.wait(), { code: 'DETACHED_BUFFER' });
  });

  it('events can be passed between devices and groups', async () => {
    const onGpu = new ExpertGroup(options);
    const onCpu = new ExpertGroup({ numRanks: 16, device: 'wasm' });
    const request = { data: ids, shape: [numTokens, 8] } as const;
    let previousEvent = onCpu.capture();
    for (let call = 0; call < 6; call += 1) {
      const expertGroup = call % 2 === 0 ? onGpu : onCpu;
      const layout = expertGroup.getDispatchLayout(request, 64, { previousEvent, asyncFinish: true });
      previousEvent = layout.event;
      if (call === 5) {
        await previousEvent.wait();
        expectArrays(layout, right);
      }
    }
    assert.instanceOf(onGpu.capture(), EventOverlap);
    await onGpu.capture().wait();
  });
});
