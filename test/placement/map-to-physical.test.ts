/** `mapToPhysical` against an oracle, in every form of ids, with the kernel and without it, and layouts of what it maps. */
import { runInNewContext } from 'node:vm';
import { assert } from 'chai';
import {
  getDispatchLayout,
  getExpertPermutation,
  getRankPermutation,
  type IntegerArray,
  type TopkIdxInput,
} from 'dispatch-layout';
import {
  createPlan,
  linear,
  mapToPhysical,
  type PlacementPlan,
  rankOfExpert,
  rebalance,
  replicaRules,
  roundRobin,
} from 'dispatch-layout/placement';
import fc from 'fast-check';
import { detached } from '../support/buffers.ts';
import { expectError, expectNumbers } from '../support/expect.ts';
import { Random } from '../support/random.ts';
import { printedBy } from '../support/run-script.ts';
import { replicaOracle } from './oracle.ts';

/** A plan with experts of different numbers of replicas, one lost expert and an empty slot. */
const plan = createPlan(
  [
    [0, 1, 2, 0, 3, 0, 2, 0, 5, 0, 2, -1],
    [5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0],
  ],
  { numRanks: 6, numExperts: 6 },
);
const source = { sourceRank: 2, numRanksPerNode: 3 };

type ArrayClass = new (length: number) => IntegerArray;
const signed: readonly ArrayClass[] = [BigInt64Array, Int32Array, Int16Array, Int8Array];
const unsigned: readonly ArrayClass[] = [BigUint64Array, Uint32Array, Uint16Array, Uint8Array];

function arrayOf(Class: ArrayClass, ids: readonly number[]): IntegerArray {
  const array = new Class(ids.length);
  for (const [index, id] of ids.entries())
    array[index] = array instanceof BigInt64Array || array instanceof BigUint64Array ? BigInt(id) : id;
  return array;
}

function expected(
  ids: readonly number[],
  numTopk: number,
  layer: number,
  rule: (typeof replicaRules)[number],
  firstToken = 0,
  from: PlacementPlan = plan,
): number[] {
  return ids.map((expert, index) => {
    const token = firstToken + Math.floor(index / numTopk);
    const { sourceRank, numRanksPerNode } = source;
    return expert < 0 ? -1 : replicaOracle(from, layer, expert, token, rule, sourceRank, numRanksPerNode);
  });
}

describe('mapToPhysical', () => {
  it('maps as the oracle does: every rule, type, number of slots, and first token', () => {
    const cases = fc.record({
      rule: fc.constantFrom(...replicaRules),
      layer: fc.constantFrom(0, 1),
      Class: fc.constantFrom(...signed, ...unsigned),
      numTopk: fc.integer({ min: 1, max: 9 }),
      firstToken: fc.constantFrom(0, 1, 12345, 2 ** 31, 2 ** 32 - 64),
      ids: fc.array(fc.integer({ min: -1, max: 5 }), { maxLength: 63 }),
    });
    fc.assert(
      fc.property(cases, ({ rule, layer, Class, numTopk, firstToken, ids }) => {
        const numTokens = Math.floor(ids.length / numTopk);
        const used = ids.slice(0, numTokens * numTopk).map((id) => (unsigned.includes(Class) ? Math.max(0, id) : id));
        const topkIdx = { data: arrayOf(Class, used), shape: [numTokens, numTopk] };
        const { data, shape } = mapToPhysical(topkIdx, plan, layer, rule, { ...source, firstToken });
        assert.deepStrictEqual([...data], expected(used, numTopk, layer, rule, firstToken));
        assert.deepStrictEqual(shape, [numTokens, numTopk]);
      }),
      { numRuns: 500 },
    );
  });

  it('maps more ids than fit in the kernel at a time, and pieces as the whole', () => {
    const random = new Random(1);
    const [numTokens, numTopk] = [12_345, 8];
    const ids = Array.from({ length: numTokens * numTopk }, () => random.below(7) - 1);
    for (const rule of replicaRules) {
      const whole = mapToPhysical(
        { data: arrayOf(Int32Array, ids), shape: [numTokens, numTopk] },
        plan,
        0,
        rule,
        source,
      );
      expectNumbers(rule, whole.data, expected(ids, numTopk, 0, rule));
      for (let firstToken = 0; firstToken < numTokens; firstToken += 5000) {
        const piece = ids.slice(firstToken * numTopk, (firstToken + 5000) * numTopk);
        const topkIdx = { data: arrayOf(BigInt64Array, piece), shape: [piece.length / numTopk, numTopk] };
        const { data } = mapToPhysical(topkIdx, plan, 0, rule, { ...source, firstToken });
        expectNumbers(rule, data, whole.data.subarray(firstToken * numTopk, (firstToken + 5000) * numTopk));
      }
    }
  });

  it('reads nested arrays, strides, several axes, and a second id for empty slots', () => {
    const want = expected([0, 2, 5, -1], 2, 0, 'round_robin');
    const map = (topkIdx: TopkIdxInput, options = {}) => [
      ...mapToPhysical(topkIdx, plan, 0, 'round_robin', options).data,
    ];
    assert.deepStrictEqual(
      map([
        [0, 2],
        [5, -1],
      ]),
      want,
    );
    assert.deepStrictEqual(map({ data: Int32Array.of(0, 5, 2, -1), shape: [2, 2], fortranOrder: true }), want);
    assert.deepStrictEqual(
      map({ data: Int32Array.of(9, 0, 9, 2, 9, 5, 9, -1), shape: [2, 2], strides: [4, 2], offset: 1 }),
      want,
    );
    assert.deepStrictEqual(map({ data: Int32Array.of(0, 2, 5, -1), shape: [1, 2, 2] }), want);
    assert.deepStrictEqual(map({ data: Int32Array.of(7, 0, 2, 5, -1), shape: [2, 2], offset: 1 }), want);
    assert.deepStrictEqual(map({ data: Uint8Array.of(0, 2, 5, 255), shape: [2, 2] }, { emptyId: 255 }), want);
    assert.deepStrictEqual(
      map({ data: BigInt64Array.of(0n, 2n, 5n, 2n ** 40n), shape: [2, 2] }, { emptyId: 2n ** 40n }),
      want,
    );
    assert.deepStrictEqual(map([[0, 2]], { emptyId: 2 }), [want[0], -1]);
    assert.deepStrictEqual(map([]), []);
    assert.deepStrictEqual(map({ data: new Int32Array(0), shape: [3, 0] }), []);
  });

  it('reads arrays of another realm', () => {
    for (const name of ['BigInt64Array', 'Int32Array', 'Uint8Array']) {
      const data = runInNewContext(`${name}.from([0, 2, 5, 1].map(${name.startsWith('Big') ? 'BigInt' : 'Number'}))`);
      const { data: mapped } = mapToPhysical({ data, shape: [2, 2] }, plan, 0, 'round_robin');
      assert.deepStrictEqual([...mapped], expected([0, 2, 5, 1], 2, 0, 'round_robin'), name);
    }
  });

  it('reports the first id that is no expert, and writes nothing then; or maps such ids to -1', () => {
    const numTokens = 9000;
    for (const [Class, wrong] of [
      [Int32Array, 6],
      [Int32Array, -2],
      [BigInt64Array, 2n ** 32n],
      [BigInt64Array, 2n ** 32n - 1n],
      [BigUint64Array, 2n ** 64n - 1n],
      [Uint32Array, 2 ** 32 - 1],
      [Int8Array, -128],
    ] as const) {
      const data = arrayOf(Class, new Array(numTokens * 4).fill(1));
      data[4 * 8999 + 2] = wrong as never;
      const topkIdx = { data, shape: [numTokens, 4] };
      const out = new Int32Array(numTokens * 4).fill(77);
      const run = (invalidExperts: 'throw' | 'ignore') =>
        mapToPhysical(topkIdx, plan, 0, 'hash', { out, invalidExperts });
      expectError(() => run('throw'), { code: 'INVALID_EXPERT', token: 8999, slot: 2, value: wrong });
      assert.isTrue(out.every((id) => id === 77));
      const { data: mapped } = run('ignore');
      assert.strictEqual(mapped[4 * 8999 + 2], -1);
      assert.strictEqual(mapped.filter((id) => id === -1).length, 1);
    }
  });

  it('writes to the memory that it is given', () => {
    const out = new Int32Array(6).fill(7);
    const { data } = mapToPhysical(
      [
        [0, 1],
        [2, 3],
      ],
      plan,
      0,
      'round_robin',
      { out },
    );
    assert.strictEqual(data.buffer, out.buffer);
    assert.deepStrictEqual([...out], [0, 1, 6, 4, 7, 7]);
    const full = new Int32Array(4);
    assert.strictEqual(
      mapToPhysical(
        [
          [0, 1],
          [2, 3],
        ],
        plan,
        0,
        'round_robin',
        { out: full },
      ).data,
      full,
    );
  });

  it('takes more experts than fit in the memory that the kernel begins with', () => {
    const numExperts = 300_000;
    const big = roundRobin({ numExperts, numRanks: 7 });
    const ids = Array.from({ length: 64 }, (_, index) => (index * 104_729) % numExperts);
    const { data } = mapToPhysical({ data: arrayOf(Int32Array, ids), shape: [8, 8] }, big, 0, 'round_robin');
    assert.deepStrictEqual(
      [...data],
      ids.map((expert) => big.logicalToPhysical[0][expert][0]),
    );
  });

  it('gives the same bits where there is no WebAssembly', () => {
    const script = (before: string) => `${before}
      const { mapToPhysical, createPlan, replicaRules } = await import('dispatch-layout/placement');
      const plan = createPlan([[0, 1, 2, 0, 3, 0, 2, 0, 1, 0, 2, -1]], { numRanks: 6, numExperts: 5 });
      const data = Int32Array.from({ length: 4000 }, (_, index) => (index * 7919) % 6 - 1);
      const maps = replicaRules.map((rule) => mapToPhysical({ data, shape: [1000, 4] }, plan, 0, rule, { sourceRank: 1 }));
      console.log(JSON.stringify(maps.map(({ data }) => [...data])));`;
    const without = printedBy(script('globalThis.WebAssembly = undefined;'));
    assert.isAbove(without.length, 10_000);
    assert.strictEqual(without, printedBy(script('')));
  });

  it('refuses what it cannot do', () => {
    const map = (options: object, rule = 'round_robin', layer = 0) =>
      mapToPhysical([[0, 1]], plan, layer, rule as 'hash', options);
    const shared = Int32Array.of(0, 1, 2, 3);
    for (const [run, code, message] of [
      [() => map({}, 'random'), 'OPTION', /rule is 'random'. It must be one of round_robin, hash, nearest/],
      [() => map({}, 'nearest'), 'OPTION', /sourceRank is undefined/],
      [() => map({ sourceRank: 6 }, 'nearest'), 'OPTION', /sourceRank is 6.*\[0, 6\)/],
      [() => map({ sourceRank: 0, numRanksPerNode: 4 }, 'nearest'), 'NUM_RANKS_PER_NODE', /4/],
      [() => map({}, 'hash', 2), 'OPTION', /layer is 2. The plan has 2 layers/],
      [() => map({}, 'hash', -1), 'OPTION', /layer is -1/],
      [() => map({ firstToken: -1 }), 'OPTION', /firstToken is -1/],
      [() => map({ firstToken: 2 ** 32 }), 'OPTION', /firstToken/],
      [() => map({ invalidExperts: true }), 'OPTION', /invalidExperts is true/],
      [() => map({ firsttoken: 1 }), 'OPTION', /Did you mean firstToken/],
      [() => map({ out: new Int32Array(1) }), 'OUT', /the length of out is 1. There are 2 ids/],
      [() => map({ out: new Uint32Array(2) }), 'OUT', /out is a Uint32Array/],
      [() => map({ out: detached(new Int32Array(2)) }), 'DETACHED_BUFFER', /out was detached/],
      [
        () => mapToPhysical({ data: shared, shape: [2, 2] }, plan, 0, 'hash', { out: shared }),
        'OUT',
        /share no memory/,
      ],
      [() => mapToPhysical('ids' as never, plan, 0, 'hash'), 'TOPK_TYPE', /topkIdx is 'ids'/],
    ] as const) {
      expectError(run, { code, message });
    }
  });
});

describe('layouts and orders of physical ids', () => {
  const random = new Random(3);
  const [numTokens, numTopk, numExperts, numRanks] = [500, 4, 24, 8];
  const rows = Array.from({ length: numTokens }, () =>
    Array.from({ length: numTopk }, () => Math.min(random.below(25), random.below(25)) - 1),
  );
  const loads = [Array.from(getDispatchLayout(rows, numExperts, { numRanks }).numTokensPerExpert)];

  it('count each token once for each rank that has one of its replicas', () => {
    const balanced = rebalance(loads, { numPhysicalExperts: 32, numRanks, numNodes: 2, numGroups: 4 });
    for (const rule of replicaRules) {
      const physical = mapToPhysical(rows, balanced, 0, rule, { sourceRank: 5, numRanksPerNode: 4 });
      const ranks = rows.map((row, token) => {
        const slots = row.filter((id) => id >= 0).map((id) => replicaOracle(balanced, 0, id, token, rule, 5, 4));
        return new Set(slots.map((slot) => Math.floor(slot / 4)));
      });
      const layout = getDispatchLayout(physical, 32, { numRanks, numRanksPerNode: 4 });
      const perRank = Array.from({ length: numRanks }, (_, rank) => ranks.filter((set) => set.has(rank)).length);
      assert.deepStrictEqual([...layout.numTokensPerRank], perRank);
      const byRank = getRankPermutation(physical, 32, { numRanks, numRanksPerNode: 4 });
      assert.deepStrictEqual([...byRank.numTokensPerRank], perRank);
      const byExpert = getExpertPermutation(physical, 32);
      assert.deepStrictEqual([...byExpert.numTokensPerExpert], [...layout.numTokensPerExpert]);
      const ofExpert = balanced.logicalToPhysical[0].map((slots) =>
        slots.reduce((sum, slot) => sum + layout.numTokensPerExpert[slot], 0),
      );
      assert.deepStrictEqual(ofExpert, loads[0]);
    }
  });

  it('are those of the placement of the same name, where there are no replicas', () => {
    for (const [name, named] of [
      ['linear', linear({ numExperts, numRanks: 5 })],
      ['round_robin', roundRobin({ numExperts, numRanks: 5 })],
    ] as const) {
      const direct = getDispatchLayout(rows, numExperts, { numRanks: 5, placement: name });
      const physical = mapToPhysical(rows, named, 0, 'round_robin');
      const mapped = getDispatchLayout(physical, named.numPhysicalExperts, { numRanks: 5 });
      expectNumbers(name, mapped.isTokenInRank, direct.isTokenInRank);
      const table = getDispatchLayout(rows, numExperts, { numRanks: 5, placement: rankOfExpert(named, 0) });
      expectNumbers(name, table.isTokenInRank, direct.isTokenInRank);
    }
  });
});
