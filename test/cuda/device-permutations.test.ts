/** Orders of rows of tensors on the GPU: the same as those of the reference, without copies, in the order of streams. */
import { assert } from 'chai';
import {
  type EventOverlap,
  ExpertGroup,
  type ExpertGroupOptions,
  type ExpertPermutation,
  type ExpertPermutationOptions,
  getExpertPermutation,
  getRankPermutation,
  maxRows,
  type RankPermutation,
  type RankPermutationOptions,
  type TopkIdxInput,
} from 'dispatch-layout';
import {
  type DeviceExpertPermutation,
  type DeviceRankPermutation,
  DeviceTensor,
  DeviceWorkspace,
  Stream,
} from 'dispatch-layout/cuda';
import { expectArrays, expectError, expectNumbers, expectRejection } from '../support/expect.ts';
import { Random } from '../support/random.ts';
import { idArray, idRange, idTypeNames } from '../support/topk-storage.ts';
import { describeOnCuda } from './on-cuda.ts';
import { loadOtherLibrary, type OtherLibrary } from './other-library.ts';
import { reference, toHost } from './reference.ts';

const expertOutputs = ['numTokensPerExpert', 'expertOffsets', 'selectionOfRow', 'rowOfSelection'] as const;
const rankOutputs = ['numTokensPerRank', 'rankOffsets', 'tokenOfRow', 'rowOfSelection'] as const;

/** What the `js` device computes. */
function byExpert(topkIdx: TopkIdxInput, numExperts: number, options: ExpertPermutationOptions = {}) {
  return getExpertPermutation(topkIdx, numExperts, { ...options, device: 'js' });
}

function byRank(topkIdx: TopkIdxInput, numExperts: number, options: ExpertGroupOptions & RankPermutationOptions) {
  return getRankPermutation(topkIdx, numExperts, { ...options, device: 'js' });
}

/** Checks that an order on the GPU has the arrays and the numbers of one on the host. */
function expectExpertOrder(actual: DeviceExpertPermutation, expected: ExpertPermutation): void {
  for (const name of expertOutputs) {
    assert.strictEqual(actual[name].dtype, 'int32');
    assert.deepStrictEqual([...actual[name].shape], [expected[name].length], name);
    expectNumbers(name, actual[name].toTypedArray(), expected[name]);
  }
  const { numTokens, numTopk, numExperts, firstExpert, numLocalExperts, alignment } = expected;
  assert.deepInclude(
    { ...actual },
    { numRows: null, numTokens, numTopk, numExperts, firstExpert, numLocalExperts, alignment },
  );
}

function expectRankOrder(actual: DeviceRankPermutation, expected: RankPermutation): void {
  for (const name of rankOutputs) {
    assert.strictEqual(actual[name].dtype, 'int32');
    assert.deepStrictEqual([...actual[name].shape], [expected[name].length], name);
    expectNumbers(name, actual[name].toTypedArray(), expected[name]);
  }
  const { numTokens, numTopk, numExperts, numRanks, winner } = expected;
  assert.deepInclude({ ...actual }, { numRows: null, numTokens, numTopk, numExperts, numRanks, winner });
}

const rows = { data: Int32Array.of(0, 1, 2, 7, -1, 5), shape: [3, 2] } as const;
const invalid = { data: BigInt64Array.of(0n, 1n, 2n, 99n, -1n, -5n), shape: [3, 2] } as const;
const numExperts = 8;
const settings = { numRanks: 4, numRanksPerNode: 2 } as const;
const legal = { invalidExperts: 'ignore' } as const;

function newGroup(options: Partial<ExpertGroupOptions> = {}): ExpertGroup {
  return new ExpertGroup({ ...settings, device: 'cuda', ...options });
}

/** Ids of several experts, -1 among them. */
function manyRows(numTokens: number, seed: number, numTopk = 3) {
  const data = Int32Array.from({ length: numTokens * numTopk }, (_, i) => ((i * 5 + seed * 7 + (i >> 2)) % 9) - 1);
  return { data, shape: [numTokens, numTopk] as const };
}

describeOnCuda('orders of tensors', () => {
  it('have the shape, types and device, and numRows is null', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    using order = getExpertPermutation(topkIdx, numExperts, { alignment: 4, firstExpert: 1 });
    expectExpertOrder(order, byExpert(rows, numExperts, { alignment: 4, firstExpert: 1 }));
    assert.deepInclude({ ...order }, { device: 'cuda', numLocalExperts: 7 });
    assert.isFalse(order.event.recorded);
    using sent = getRankPermutation(topkIdx, numExperts, { numRanks: 4, winner: 'last' });
    expectRankOrder(sent, byRank(rows, numExperts, { numRanks: 4, winner: 'last' }));
    assert.strictEqual(sent.device, 'cuda');
    assert.isFalse(sent.event.recorded);
    assert.strictEqual(newGroup({ device: 'auto' }).getRankPermutation(topkIdx, numExperts).device, 'cuda');
  });

  it('are those of the reference, for random ids of all types, placements, ranges of experts and alignments', () => {
    const random = new Random(21);
    for (let call = 0; call < 120; call += 1) {
      const numRanks = random.pick([1, 2, 8, 72]);
      const numExperts = numRanks * random.pick([1, 2, 4]);
      const [numTokens, numTopk] = [random.pick([0, 1, 31, 64, 700]), random.pick([0, 1, 3, 8, 10])];
      const type = random.pick(idTypeNames);
      const smallest = Number(idRange[type][0] < 0n ? -1 : 0);
      const isLoose = random.chance(0.3);
      const largest = Math.min(numExperts - 1 + (isLoose ? 2 : 0), Number(idRange[type][1]));
      const ids = Array.from({ length: numTokens * numTopk }, () => random.between(smallest, largest));
      const topkIdx = { data: idArray(type, ids), shape: [numTokens, numTopk] } as const;
      const placement = random.pick([
        undefined,
        'round_robin' as const,
        Array.from({ length: numExperts }, () => random.between(-1, numRanks - 1)),
      ]);
      const emptyId = random.pick([undefined, 0, numExperts - 1, 255n]);
      const common = { emptyId, ...(isLoose && legal) };
      const firstExpert = random.pick([undefined, 0, random.below(numExperts + 1)]);
      const numLocalExperts = random.pick([undefined, random.below(numExperts - (firstExpert ?? 0) + 1)]);
      const inRows = { ...common, firstExpert, numLocalExperts, alignment: random.pick([undefined, 1, 2, 16, 128]) };
      const group = { numRanks, numRanksPerNode: numRanks, placement };
      const winner = random.pick([undefined, 'first', 'last'] as const);
      using tensor = DeviceTensor.from(topkIdx.data, topkIdx.shape);
      using order = new ExpertGroup(group).getExpertPermutation(tensor, numExperts, inRows);
      expectExpertOrder(order, byExpert(topkIdx, numExperts, inRows));
      using sent = getRankPermutation(tensor, numExperts, { ...group, ...common, winner });
      expectRankOrder(sent, byRank(topkIdx, numExperts, { ...group, ...common, winner }));
    }
  });

  it('of many blocks of threads are those of the reference, too', () => {
    for (const [numTokens, numTopk, experts, numRanks] of [
      [3000, 8, 256, 64],
      [5000, 2, 40_000, 20],
    ]) {
      const data = Int32Array.from({ length: numTokens * numTopk }, (_, i) => ((i * 7919) % (experts + 1)) - 1);
      const topkIdx = { data, shape: [numTokens, numTopk] } as const;
      using tensor = DeviceTensor.from(data, topkIdx.shape);
      using order = getExpertPermutation(tensor, experts, { alignment: 16 });
      expectExpertOrder(order, byExpert(topkIdx, experts, { alignment: 16 }));
      using sent = getRankPermutation(tensor, experts, { numRanks });
      expectRankOrder(sent, byRank(topkIdx, experts, { numRanks }));
    }
  });

  it('accept rows that are not contiguous, and refuse slots that are not', () => {
    using wide = DeviceTensor.from(Int16Array.of(9, 0, 1, 9, 9, 2, 7, 9, 9, -1, 5, 9), [3, 4]);
    using topkIdx = wide.strided([3, 2], [4, 1], 1);
    expectExpertOrder(getExpertPermutation(topkIdx, numExperts), byExpert(rows, numExperts));
    expectRankOrder(getRankPermutation(topkIdx, numExperts, settings), byRank(rows, numExperts, settings));
    using columns = wide.strided([2, 3], [1, 4], 1);
    for (const call of [
      () => getExpertPermutation(columns, numExperts),
      () => getRankPermutation(columns, numExperts, settings),
    ]) {
      expectError(call, { code: 'TOPK_SHAPE', message: /apart/ });
    }
  });

  it('exist for no tokens, for no slots and for no local experts', () => {
    for (const shape of [
      [0, 2],
      [3, 0],
      [0, 0],
      [0, 2 ** 31],
    ] as const) {
      using topkIdx = DeviceTensor.empty(shape, 'int32');
      using order = getExpertPermutation(topkIdx, 4, { alignment: 8 });
      assert.deepStrictEqual([...order.expertOffsets.toTypedArray()], [0, 0, 0, 0, 0], `${shape}`);
      assert.deepStrictEqual([...order.selectionOfRow.shape], [0]);
      using sent = getRankPermutation(topkIdx, 4, { numRanks: 2 });
      assert.deepStrictEqual([...sent.rankOffsets.toTypedArray()], [0, 0, 0]);
    }
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    for (const options of [{ firstExpert: 8 }, { numLocalExperts: 0, alignment: 4 }]) {
      expectExpertOrder(getExpertPermutation(topkIdx, numExperts, options), byExpert(rows, numExperts, options));
    }
  });

  it('take options from the prototype, and read each option and each of its getters once', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    const inherited: ExpertPermutationOptions = Object.create({ alignment: 4, ...legal });
    expectExpertOrder(
      getExpertPermutation(topkIdx, numExperts, inherited as object),
      byExpert(rows, numExperts, { alignment: 4 }),
    );
    const counts = new Map<string, number>();
    const counting = (values: Readonly<Record<string, unknown>>): object => {
      const object = {};
      for (const [name, value] of Object.entries(values)) {
        const get = () => {
          counts.set(name, (counts.get(name) ?? 0) + 1);
          return value;
        };
        Object.defineProperty(object, name, { get, enumerable: true });
      }
      return object;
    };
    const ofCall = {
      invalidExperts: 'throw',
      emptyId: 3,
      out: undefined,
      previousEvent: undefined,
      asyncFinish: false,
      allocateOnCommStream: false,
    };
    const group = newGroup();
    for (const use of [
      () => group.getDispatchLayout(topkIdx, numExperts, counting({ ...ofCall, mask: 'none' })),
      () => group.getExpertPermutation(topkIdx, numExperts, counting({ ...ofCall, firstExpert: 0, alignment: 2 })),
      () => group.getRankPermutation(topkIdx, numExperts, counting({ ...ofCall, winner: 'last' })),
      () => group.getExpertPermutation(rows, numExperts, counting({ ...ofCall, numLocalExperts: 3 })),
      () => group.getRankPermutation(rows, numExperts, counting({ ...ofCall, winner: 'last' })),
    ]) {
      counts.clear();
      use();
      assert.isTrue(
        [...counts.values()].every((count) => count === 1),
        JSON.stringify([...counts]),
      );
    }
  });

  it('are refused before anything runs', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    const group = newGroup();
    const ofExperts = (options: object) => () => group.getExpertPermutation(topkIdx, numExperts, options);
    const ofRanks = (options: object) => () => group.getRankPermutation(topkIdx, numExperts, options);
    for (const [call, message] of [
      [ofExperts({ alignment: 0 }), /alignment is 0\. It must be an integer from 1/],
      [ofExperts({ alignment: 2 ** 31 }), /alignment is 2147483648/],
      [ofExperts({ firstExpert: 9 }), /firstExpert is 9\. It must be at most numExperts, 8/],
      [ofExperts({ firstExpert: 1n }), /firstExpert is 1n/],
      [ofExperts({ firstExpert: 6, numLocalExperts: 3 }), /numLocalExperts is 3\. From expert 6 on there are 2/],
      [ofExperts({ winner: 'last' }), /winner.*It is an option of getRankPermutation/],
      [ofExperts({ numRanks: 4 }), /numRanks.*It is an option of groups of ranks/],
      [ofRanks({ winner: 'both' }), /winner is 'both'\. It must be 'first' or 'last'/],
      [ofRanks({ alignment: 4 }), /alignment.*It is an option of getExpertPermutation/],
      [ofRanks({ mask: 'bits' }), /mask.*It is an option of getDispatchLayout/],
    ] as const) {
      expectError(call, { code: 'OPTION', message });
    }
    expectError(() => group.getRankPermutation(topkIdx, 9), { code: 'UNEVEN_EXPERTS' });
    // It does not matter for this order on which ranks experts are
    expectExpertOrder(group.getExpertPermutation(topkIdx, 9), byExpert(rows, 9));
    for (const device of ['wasm', 'js'] as const) {
      const message = /^topkIdx is on 'cuda', and the group's device is/;
      expectError(() => getExpertPermutation(topkIdx, 8, { device }), { code: 'OPTION', message });
      expectError(() => getRankPermutation(topkIdx, 8, { numRanks: 4, device }), { code: 'OPTION', message });
    }
    expectError(ofExperts({ allocateOnCommStream: true }), { code: 'EVENT_FLAGS' });
    const gone = DeviceTensor.from(rows.data, rows.shape);
    gone.dispose();
    expectError(() => group.getExpertPermutation(gone, 8), { code: 'DISPOSED' });
    expectError(() => group.getRankPermutation(gone, 8), { code: 'DISPOSED' });
  });

  it('of more selections or rows than int32 can number are TOO_LARGE', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    const options = { alignment: 2 ** 30 };
    for (const given of [topkIdx, rows] as const) {
      const call = () =>
        given === topkIdx
          ? newGroup().getExpertPermutation(topkIdx, numExperts, options)
          : newGroup().getExpertPermutation(rows, numExperts, options);
      expectError(call, { code: 'TOO_LARGE', message: /6 selections need up to 6442450944 rows/, value: 6442450944 });
    }
    expectError(() => maxRows({ numTokens: 3, numTopk: 2, numLocalExperts: 8, ...options }), {
      code: 'TOO_LARGE',
      value: 6442450944,
    });
    // All tokens have the same ids, so that the tensor needs no memory of this size
    using many = DeviceTensor.empty([8], 'int32').strided([2 ** 29, 8], [0, 1]);
    const message = /topkIdx has 536870912 x 8 selections/;
    expectError(() => getExpertPermutation(many, numExperts), { code: 'TOO_LARGE', message });
    expectError(() => getRankPermutation(many, numExperts, settings), { code: 'TOO_LARGE', message });
    const workspace = { topkIdx, numExperts, expertPermutation: options };
    expectError(() => newGroup().createWorkspace(workspace), { code: 'TOO_LARGE' });
  });

  it('dispose of new tensors, and leave those of the caller', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    const group = newGroup();
    const order = group.getExpertPermutation(topkIdx, numExperts);
    const again = group.getExpertPermutation(topkIdx, numExperts, { out: order });
    again[Symbol.dispose]();
    for (const name of expertOutputs) assert.isFalse(order[name].isDisposed, name);
    const large = { ...order, selectionOfRow: DeviceTensor.empty([100], 'int32') };
    const part = group.getExpertPermutation(topkIdx, numExperts, { out: large });
    part[Symbol.dispose]();
    assert.isFalse(part.selectionOfRow.isDisposed);
    large.selectionOfRow.dispose();
    assert.isTrue(part.selectionOfRow.isDisposed);
    order[Symbol.dispose]();
    for (const name of expertOutputs) assert.isTrue(order[name].isDisposed, name);
    const sent = group.getRankPermutation(topkIdx, numExperts);
    {
      using _sent = sent;
    }
    for (const name of rankOutputs) assert.isTrue(sent[name].isDisposed, name);
    expectError(() => group.getRankPermutation(topkIdx, numExperts, { out: sent }), { code: 'DISPOSED' });
  });
});

describeOnCuda('orders in tensors of the caller', () => {
  it('are in these tensors, whichever shapes and options come between', () => {
    const group = newGroup();
    const [first, second] = [manyRows(64, 1), manyRows(64, 2)];
    const inputs = [first, second].map((input) => ({ input, tensor: DeviceTensor.from(input.data, input.shape) }));
    const outOfExperts = group.getExpertPermutation(inputs[0].tensor, numExperts, { alignment: 16 });
    const outOfRanks = group.getRankPermutation(inputs[0].tensor, numExperts);
    for (let call = 0; call < 24; call += 1) {
      const { input, tensor } = inputs[call % 2];
      const options = { alignment: [16, 1, 4][call % 3], emptyId: call % 5 === 0 ? 3 : undefined };
      const order = group.getExpertPermutation(tensor, numExperts, { ...options, out: outOfExperts });
      assert.strictEqual(order.numTokensPerExpert, outOfExperts.numTokensPerExpert);
      assert.strictEqual(order.expertOffsets, outOfExperts.expertOffsets);
      assert.strictEqual(order.selectionOfRow.pointer, outOfExperts.selectionOfRow.pointer);
      if (options.alignment === 16) assert.strictEqual(order.selectionOfRow, outOfExperts.selectionOfRow);
      expectExpertOrder(order, byExpert(input, numExperts, options));
      const winner = (['first', 'last'] as const)[call % 2];
      const sent = group.getRankPermutation(tensor, numExperts, { winner, out: { ...outOfRanks } });
      for (const name of rankOutputs) assert.strictEqual(sent[name], outOfRanks[name], name);
      expectRankOrder(sent, byRank(input, numExperts, { ...settings, winner }));
    }
    for (const each of [outOfExperts, outOfRanks, ...inputs.map(({ tensor }) => tensor)]) each[Symbol.dispose]();
  });

  it('of fewer tokens are in views of the first rows', () => {
    const group = newGroup();
    const large = manyRows(50, 3);
    using topkIdx = DeviceTensor.from(large.data, large.shape);
    using outOfExperts = group.getExpertPermutation(topkIdx, numExperts, { alignment: 8 });
    using outOfRanks = group.getRankPermutation(topkIdx, numExperts);
    for (const numTokens of [7, 0, 1, 50]) {
      const input = manyRows(numTokens, numTokens);
      using tensor = DeviceTensor.from(input.data, input.shape);
      const order = group.getExpertPermutation(tensor, numExperts, { alignment: 8, out: outOfExperts });
      expectExpertOrder(order, byExpert(input, numExperts, { alignment: 8 }));
      const sent = group.getRankPermutation(tensor, numExperts, { out: outOfRanks });
      expectRankOrder(sent, byRank(input, numExperts, settings));
    }
  });

  it('that cannot hold them are named', () => {
    const group = newGroup();
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    using order = group.getExpertPermutation(topkIdx, numExperts);
    using sent = group.getRankPermutation(topkIdx, numExperts);
    using layout = group.getDispatchLayout(topkIdx, numExperts);
    const int32 = (length: number) => DeviceTensor.empty([length], 'int32');
    for (const [out, message] of [
      [null, /out is null/],
      [byExpert(rows, numExperts), /out\.numTokensPerExpert is .* For a topkIdx on the GPU it must be a contiguous/],
      [{ ...order, numTokensPerExpert: int32(9) }, /out\.numTokensPerExpert has 9 elements\. It needs 8/],
      [{ ...order, expertOffsets: order.numTokensPerExpert }, /out\.expertOffsets has 8 elements\. It needs 9/],
      [{ ...order, selectionOfRow: int32(5) }, /out\.selectionOfRow has 5 elements\. It needs at least 6/],
      [{ ...order, rowOfSelection: DeviceTensor.empty([24], 'uint8') }, /out\.rowOfSelection is /],
      [{ ...order, rowOfSelection: null }, /out\.rowOfSelection is null/],
      [
        { ...order, rowOfSelection: order.selectionOfRow },
        /out\.rowOfSelection shares memory with out\.selectionOfRow/,
      ],
      [{ ...order, rowOfSelection: topkIdx.strided([6], [1]) }, /out\.rowOfSelection shares memory with topkIdx/],
      [sent, /out\.numTokensPerExpert is undefined/],
      [layout, /out\.expertOffsets is undefined/],
    ] as const) {
      const call = () => group.getExpertPermutation(topkIdx, numExperts, { out: out as DeviceExpertPermutation });
      expectError(call, { code: 'OUT', message });
    }
    for (const [out, message] of [
      [{ ...sent, rankOffsets: int32(4) }, /out\.rankOffsets has 4 elements\. It needs 5/],
      [{ ...sent, tokenOfRow: int32(5) }, /out\.tokenOfRow has 5 elements\. It needs at least 6/],
      [order, /out\.numTokensPerRank is undefined/],
      [layout, /out\.rankOffsets is undefined/],
    ] as const) {
      const call = () => group.getRankPermutation(topkIdx, numExperts, { out: out as DeviceRankPermutation });
      expectError(call, { code: 'OUT', message });
    }
    for (const out of [order, sent]) {
      const call = () => group.getDispatchLayout(topkIdx, numExperts, { out: out as unknown as typeof layout });
      expectError(call, { code: 'OUT', message: /out\.(numTokensPerRank|numTokensPerRdmaRank) is undefined/ });
    }
    // One object may hold the tensors of all three, of which each computation takes its own
    const all = { ...order, ...sent, ...layout, rowOfSelection: order.rowOfSelection };
    expectExpertOrder(
      group.getExpertPermutation(topkIdx, numExperts, { out: all as DeviceExpertPermutation }),
      byExpert(rows, numExperts),
    );
    expectRankOrder(
      group.getRankPermutation(topkIdx, numExperts, { out: all as DeviceRankPermutation }),
      byRank(rows, numExperts, settings),
    );
    expectArrays(
      toHost(group.getDispatchLayout(topkIdx, numExperts, { out: all as typeof layout })),
      reference(rows, numExperts, settings),
    );
  });
});

describeOnCuda('invalid ids in orders on the GPU', () => {
  const offence = { code: 'INVALID_EXPERT', token: 1, slot: 1, value: 99n };

  for (const [title, compute] of [
    ['by expert', (group, topkIdx, options) => group.getExpertPermutation(topkIdx, numExperts, options)],
    ['by rank', (group, topkIdx, options) => group.getRankPermutation(topkIdx, numExperts, options)],
  ] as readonly [
    string,
    (
      group: ExpertGroup,
      topkIdx: DeviceTensor,
      options?: object,
    ) => Disposable & { readonly event: EventOverlap; readonly rowOfSelection: DeviceTensor<'int32'> },
  ][]) {
    it(`${title}: are reported by a copy to the host, by the event, and by the next call, once`, async () => {
      using topkIdx = DeviceTensor.from(invalid.data, invalid.shape);
      using order = compute(newGroup(), topkIdx);
      expectError(() => order.rowOfSelection.toTypedArray(), offence);
      await expectRejection(order.rowOfSelection.toTypedArrayAsync(), offence);

      using later = compute(newGroup(), topkIdx, { asyncFinish: true });
      await expectRejection(later.event.wait(), offence);

      const group = newGroup();
      const message = new RegExp(`^in an earlier order ${title}, topkIdx\\[1\\]\\[1\\] is 99`);
      using good = DeviceTensor.from(rows.data, rows.shape);
      for (const next of [
        () => group.getDispatchLayout(good, numExperts),
        () => group.getExpertPermutation(good, numExperts),
        () => group.getRankPermutation(rows, numExperts),
        () => group.getDispatchLayout(rows, numExperts),
      ]) {
        using _bad = compute(group, topkIdx);
        await Stream.current.wait();
        compute(group, good, legal);
        expectError(next, { ...offence, message });
        next();
      }
      // An invalid id of a layout is reported by the next order, too
      using _bad = group.getDispatchLayout(topkIdx, numExperts);
      await Stream.current.wait();
      expectError(() => compute(group, good), { ...offence, message: /^in an earlier layout, / });
      compute(group, good);
    });

    it(`${title}: are reported in tensors of the caller, also in views and after an overwriting call`, () => {
      using topkIdx = DeviceTensor.from(invalid.data, invalid.shape);
      using good = DeviceTensor.from(rows.data, rows.shape);
      using out = compute(newGroup(), good);
      using large = DeviceTensor.empty([64], 'int32');
      using order = compute(newGroup(), topkIdx, { out: { ...out, rowOfSelection: large } });
      expectError(() => large.toTypedArray(), offence);
      expectError(() => order.rowOfSelection.toTypedArray(), offence);
      compute(newGroup(), good, { out: { ...out, rowOfSelection: large } });
      large.toTypedArray();
      const ignored = { ...settings, ...legal };
      using skipped = compute(newGroup(), topkIdx, legal);
      const right = title === 'by expert' ? byExpert(invalid, 8, legal) : byRank(invalid, 8, ignored);
      expectNumbers('rowOfSelection', skipped.rowOfSelection.toTypedArray(), right.rowOfSelection);
    });
  }

  it('of local experts are only those that are no experts at all', () => {
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    const options = { firstExpert: 2, numLocalExperts: 3 };
    expectExpertOrder(getExpertPermutation(topkIdx, numExperts, options), byExpert(rows, numExperts, options));
    using bad = DeviceTensor.from(invalid.data, invalid.shape);
    using order = newGroup().getExpertPermutation(bad, numExperts, options);
    expectError(() => order.expertOffsets.toTypedArray(), offence);
  });
});

describeOnCuda('a workspace of tensors with orders', () => {
  const orders = { expertPermutation: { alignment: 4, firstExpert: 1 }, rankPermutation: { winner: 'last' } } as const;

  it('computes the layout and both orders of the first tokens, again with every run', () => {
    const group = newGroup();
    const input = manyRows(300, 4);
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    using workspace = group.createWorkspace({ topkIdx, numExperts, ...orders });
    assert.instanceOf(workspace, DeviceWorkspace);
    for (const numTokens of [300, 0, 1, 33, 300, 33]) {
      const part = { data: input.data.subarray(0, numTokens * 3), shape: [numTokens, 3] as const };
      const order = workspace.runExpertPermutation(numTokens);
      const sent = workspace.runRankPermutation(numTokens);
      const layout = workspace.run(numTokens);
      expectExpertOrder(order, byExpert(part, numExperts, orders.expertPermutation));
      expectRankOrder(sent, byRank(part, numExperts, { ...settings, winner: 'last' }));
      expectArrays(toHost(layout), reference(part, numExperts, settings));
      assert.strictEqual(workspace.runExpertPermutation(numTokens), order);
      assert.strictEqual(workspace.runRankPermutation(numTokens), sent);
    }
    assert.strictEqual(workspace.runExpertPermutation(), workspace.runExpertPermutation(300));
    for (const numTokens of [-1, 301, 1.5, '3' as unknown as number]) {
      for (const run of [
        () => workspace.runExpertPermutation(numTokens),
        () => workspace.runRankPermutation(numTokens),
      ]) {
        expectError(run, { code: 'OPTION', message: /room for 0 to 300 tokens/ });
      }
    }
  });

  it('computes the orders that it was made for, with default options too, and says so of others', () => {
    const group = newGroup();
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    using without = group.createWorkspace({ topkIdx, numExperts });
    expectError(() => without.runExpertPermutation(), { code: 'OPTION', message: /made without expertPermutation/ });
    expectError(() => without.runRankPermutation(), { code: 'OPTION', message: /made without rankPermutation/ });
    using byDefault = group.createWorkspace({ topkIdx, numExperts, expertPermutation: true, rankPermutation: {} });
    expectExpertOrder(byDefault.runExpertPermutation(), byExpert(rows, numExperts));
    expectRankOrder(byDefault.runRankPermutation(), byRank(rows, numExperts, settings));
    for (const [options, message] of [
      [{ expertPermutation: false }, /expertPermutation is false\. It must be true, or an object/],
      [{ expertPermutation: null }, /expertPermutation is null/],
      [{ rankPermutation: 'last' }, /rankPermutation is 'last'/],
      [{ rankPermutation: { alignment: 2 } }, /no option 'alignment'/],
      [{ expertPermutation: { alignment: 1.5 } }, /alignment is 1\.5/],
    ] as const) {
      expectError(() => group.createWorkspace({ topkIdx, numExperts, ...(options as object) }), {
        code: 'OPTION',
        message,
      });
    }
  });

  it('disposes of the orders, which are its own, and refuses tensors that were disposed of', () => {
    const group = newGroup();
    using topkIdx = DeviceTensor.from(rows.data, rows.shape);
    using out = group.getDispatchLayout(topkIdx, numExperts);
    const workspace = group.createWorkspace({ topkIdx, numExperts, out, ...orders });
    const [order, sent] = [workspace.runExpertPermutation(2), workspace.runRankPermutation()];
    workspace[Symbol.dispose]();
    for (const name of expertOutputs) assert.isTrue(order[name].isDisposed, name);
    for (const name of rankOutputs) assert.isTrue(sent[name].isDisposed, name);
    assert.isFalse(out.isTokenInRank.isDisposed);
    expectError(() => workspace.runExpertPermutation(), { code: 'DISPOSED' });
    expectError(() => workspace.runRankPermutation(1), { code: 'DISPOSED' });
    workspace.run();
    using other = group.createWorkspace({ topkIdx, numExperts, ...orders });
    other.runRankPermutation().tokenOfRow.dispose();
    other.runExpertPermutation();
    expectError(() => other.runRankPermutation(), { code: 'DISPOSED' });
    topkIdx.dispose();
    expectError(() => other.runExpertPermutation(), { code: 'DISPOSED' });
  });

  it('reports invalid ids as other calls do', async () => {
    using topkIdx = DeviceTensor.from(Int32Array.of(0, 1, 99, 3), [2, 2]);
    using workspace = newGroup().createWorkspace({ topkIdx, numExperts, expertPermutation: true });
    const offence = { code: 'INVALID_EXPERT', token: 1, slot: 0, value: 99 };
    const order = workspace.runExpertPermutation();
    expectError(() => order.selectionOfRow.toTypedArray(), offence);
    assert.deepStrictEqual([...workspace.runExpertPermutation(1).rowOfSelection.toTypedArray()], [0, 1]);
    workspace.runExpertPermutation();
    await Stream.current.wait();
    expectError(() => workspace.run(1), { ...offence, message: /^in an earlier order by expert, / });
    workspace.run(1);
  });
});

describeOnCuda('streams and events of orders', () => {
  const library = loadOtherLibrary() as OtherLibrary;
  const input = manyRows(2000, 6, 8);
  const rightByExpert = byExpert(input, numExperts, { alignment: 8 });
  const rightByRank = byRank(input, numExperts, settings);
  const aligned = { alignment: 8 } as const;

  /** Keeps a stream busy, and returns the event behind that. */
  function busyUntil(stream: Stream, milliseconds = 200): EventOverlap {
    library.sleepOnStream(stream.handle, milliseconds);
    return stream.record();
  }

  it('nothing waits for them, not even for the number of rows', function () {
    if (library === undefined) this.skip();
    const group = newGroup();
    const stream = new Stream();
    using topkIdx = stream.run(() => DeviceTensor.from(input.data, input.shape));
    // What a first call prepares, it waits for
    stream.run(() => {
      group.getExpertPermutation(topkIdx, numExperts, aligned)[Symbol.dispose]();
      group.getRankPermutation(topkIdx, numExperts)[Symbol.dispose]();
    });
    stream.synchronize();
    const isBusy = busyUntil(stream);
    stream.run(() => {
      using order = group.getExpertPermutation(topkIdx, numExperts, aligned);
      using sent = group.getRankPermutation(topkIdx, numExperts, { asyncFinish: true });
      assert.isNull(order.numRows);
      assert.isNull(sent.numRows);
      assert.isFalse(isBusy.done);
      assert.isFalse(sent.event.done);
      sent.event.currentStreamWait();
      expectExpertOrder(order, rightByExpert);
      expectRankOrder(sent, rightByRank);
      assert.isTrue(isBusy.done);
    });
  });

  it('with asyncFinish, the event says when the outputs are valid; previousEvent orders them behind other work', async () => {
    const group = newGroup();
    const producer = new Stream();
    for (let call = 0; call < 20; call += 1) {
      using topkIdx = producer.run(() => DeviceTensor.from(input.data, input.shape));
      const order = {
        previousEvent: producer.record(),
        asyncFinish: true,
        allocateOnCommStream: call % 2 === 0,
      } as const;
      using byExpert = group.getExpertPermutation(topkIdx, numExperts, { ...aligned, ...order });
      using sent = group.getRankPermutation(topkIdx, numExperts, order);
      assert.isTrue(sent.event.recorded && byExpert.event.recorded);
      await sent.event.wait();
      // Those of one group run one after the other
      assert.isTrue(byExpert.event.done);
      expectExpertOrder(byExpert, rightByExpert);
      expectRankOrder(sent, rightByRank);
    }
  });

  it('host arrays: with asyncFinish they are written when the event is waited for', async () => {
    const group = newGroup();
    const data = input.data.slice();
    const options = { ...aligned, asyncFinish: true } as const;
    const order = group.getExpertPermutation({ data, shape: input.shape }, numExperts, options);
    const sent = group.getRankPermutation({ data, shape: input.shape }, numExperts, { asyncFinish: true });
    data.fill(0);
    await order.event.wait();
    sent.event.currentStreamWait();
    for (const name of expertOutputs) expectNumbers(name, order[name], rightByExpert[name]);
    for (const name of rankOutputs) expectNumbers(name, sent[name], rightByRank[name]);
    assert.strictEqual(order.numRows, rightByExpert.numRows);
    const bad = { data: Int32Array.of(99), shape: [1, 1] } as const;
    const wrong = group.getExpertPermutation(bad, numExperts, { asyncFinish: true });
    await expectRejection(wrong.event.wait(), { code: 'INVALID_EXPERT', token: 0, slot: 0, value: 99 });
    assert.deepStrictEqual([...wrong.selectionOfRow], [0]);
  });

  it('the memory of tensors that are disposed of at once outlives the work that uses it', async () => {
    const group = newGroup();
    const kept: (DeviceExpertPermutation | DeviceRankPermutation)[] = [];
    for (let call = 0; call < 50; call += 1) {
      const topkIdx = DeviceTensor.from(input.data, input.shape);
      const asyncFinish = call % 2 === 0;
      kept.push(
        call % 4 < 2
          ? group.getExpertPermutation(topkIdx, numExperts, { ...aligned, asyncFinish })
          : group.getRankPermutation(topkIdx, numExperts, { asyncFinish }),
      );
      topkIdx.dispose();
      if (call % 3 === 0) kept.pop()?.[Symbol.dispose]();
    }
    for (const order of kept) {
      if (order.event.recorded) await order.event.wait();
      if ('expertOffsets' in order) expectExpertOrder(order, rightByExpert);
      else expectRankOrder(order, rightByRank);
      order[Symbol.dispose]();
    }
  });

  it('layouts and orders of one group that take turns on slow streams do not disturb each other', async () => {
    process.env.FAKE_CUDA_SLOW = '2';
    try {
      const group = newGroup();
      const rightLayout = reference(input, numExperts, settings);
      using topkIdx = DeviceTensor.from(input.data, input.shape);
      Stream.current.synchronize();
      const streams = Array.from({ length: 4 }, () => new Stream());
      const checks: (() => void)[] = [];
      const events: Promise<void>[] = [];
      for (let call = 0; call < 60; call += 1) {
        const stream = streams[call % 4];
        // Asynchronous ones run on the communication stream, the others on the current one
        const asyncFinish = call % 5 === 0;
        stream.run(() => {
          if (call % 3 === 0) {
            const layout = group.getDispatchLayout(topkIdx, numExperts, { asyncFinish });
            if (asyncFinish) events.push(layout.event.wait());
            checks.push(() => expectArrays(toHost(layout), rightLayout));
          } else if (call % 3 === 1) {
            const order = group.getExpertPermutation(topkIdx, numExperts, { ...aligned, asyncFinish });
            if (asyncFinish) events.push(order.event.wait());
            checks.push(() => expectExpertOrder(order, rightByExpert));
          } else {
            const order = group.getRankPermutation(topkIdx, numExperts, { asyncFinish });
            if (asyncFinish) events.push(order.event.wait());
            checks.push(() => expectRankOrder(order, rightByRank));
          }
          if (call % 7 === 0) {
            const order = group.getExpertPermutation(input, numExperts, aligned);
            expectNumbers('selectionOfRow', order.selectionOfRow, rightByExpert.selectionOfRow);
          }
        });
      }
      await Promise.all(events);
      for (const stream of streams) stream.synchronize();
      for (const check of checks) check();
    } finally {
      delete process.env.FAKE_CUDA_SLOW;
    }
  });
});

describeOnCuda('orders in a CUDA graph that another library captures', () => {
  const library = loadOtherLibrary() as OtherLibrary;
  const input = manyRows(1500, 7, 4);

  before(function () {
    if (library === undefined) this.skip();
  });

  for (const placement of [undefined, Array.from({ length: numExperts }, (_, expert) => ((expert * 3) % 5) - 1)]) {
    it(`are computed again with every replay${placement ? ', with a placement' : ''}`, () => {
      const options = { ...settings, placement };
      const group = newGroup({ placement });
      using topkIdx = DeviceTensor.from(input.data, input.shape);
      using other = DeviceTensor.from(input.data, input.shape);
      using order = group.getExpertPermutation(topkIdx, numExperts, { ...legal, alignment: 8 });
      using sent = group.getRankPermutation(topkIdx, numExperts, legal);
      using layout = group.getDispatchLayout(topkIdx, numExperts, legal);
      Stream.current.synchronize();
      const handle = library.createStream(true);
      const stream = Stream.fromHandle(handle);
      library.beginCapture(handle, 'global');
      const refused: [RegExp, () => unknown][] = [
        [/memory that outlives/, () => group.getExpertPermutation(topkIdx, numExperts, legal)],
        [/memory that outlives/, () => group.getRankPermutation(topkIdx, numExperts, legal)],
        [/invalid ids when it is replayed/, () => group.getRankPermutation(topkIdx, numExperts, { out: sent })],
        [
          /finished before/,
          () => group.getRankPermutation(topkIdx, numExperts, { ...legal, out: sent, asyncFinish: true }),
        ],
        [/host arrays/, () => group.getExpertPermutation(input, numExperts, { asyncFinish: true })],
      ];
      stream.run(() => {
        for (const [message, use] of refused) expectError(use, { code: 'CAPTURE', message });
        group.getExpertPermutation(topkIdx, numExperts, { ...legal, alignment: 8, out: order });
        const previousEvent = stream.record();
        group.getRankPermutation(topkIdx, numExperts, { ...legal, out: sent, previousEvent });
        group.getDispatchLayout(topkIdx, numExperts, { ...legal, out: layout });
      });
      const graph = library.endCapture(handle);
      for (const seed of [8, 9, 10]) {
        const changed = manyRows(1500, seed, 4);
        library.write(topkIdx.pointer, changed.data);
        // The group goes on computing, and must not share memory with the graph
        using orderBeside = group.getExpertPermutation(other, numExperts, { alignment: 8, asyncFinish: true });
        using sentBeside = group.getRankPermutation(other, numExperts, { asyncFinish: true });
        library.launchGraph(graph, handle);
        library.synchronizeStream(handle);
        sentBeside.event.currentStreamWait();
        expectExpertOrder(order, byExpert(changed, numExperts, { alignment: 8 }));
        expectRankOrder(sent, byRank(changed, numExperts, options));
        expectArrays(toHost(layout), reference(changed, numExperts, options));
        expectExpertOrder(orderBeside, byExpert(input, numExperts, { alignment: 8 }));
        expectRankOrder(sentBeside, byRank(input, numExperts, options));
      }
      library.destroyGraph(graph);
    });
  }

  it('may be the first work of their group there, and share no memory with those of a second graph', () => {
    const group = newGroup();
    const side = new Stream();
    const topkIdx = side.run(() => DeviceTensor.from(input.data, input.shape));
    const outs = [1, 2].map(() => side.run(() => newGroup().getExpertPermutation(topkIdx, numExperts, legal)));
    side.synchronize();
    const graphs = outs.map((out) => {
      const handle = library.createStream(false);
      const stream = Stream.fromHandle(handle);
      library.beginCapture(handle, 'global');
      stream.run(() => group.getExpertPermutation(topkIdx, numExperts, { ...legal, out }));
      return { handle, graph: library.endCapture(handle) };
    });
    for (const { graph, handle } of graphs) library.launchGraph(graph, handle);
    for (const { graph, handle } of graphs) {
      library.synchronizeStream(handle);
      library.destroyGraph(graph);
    }
    for (const out of outs) side.run(() => expectExpertOrder(out, byExpert(input, numExperts)));
  });
});
