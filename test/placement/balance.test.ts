/** The figures of balance against numbers that were worked out by hand, and bounds against plans. */
import { assert } from 'chai';
import {
  balanceFigures,
  balanceOf,
  createPlan,
  findingsOf,
  linear,
  lowerBound,
  percentile,
  rankLoads,
  rebalance,
  spreadOf,
} from 'dispatch-layout/placement';
import fc from 'fast-check';
import { expectError } from '../support/expect.ts';

describe('balanceOf', () => {
  it('has the three figures by name', () => {
    assert.deepStrictEqual(balanceOf([6, 2, 4, 4]), { 'max/mean': 1.5, 'mean/max': 4 / 6, '(max-mean)/mean': 0.5 });
    assert.deepStrictEqual(balanceOf(Int32Array.of(3, 3, 3)), { 'max/mean': 1, 'mean/max': 1, '(max-mean)/mean': 0 });
    assert.deepStrictEqual(balanceOf([0, 0, 0, 8]), { 'max/mean': 4, 'mean/max': 0.25, '(max-mean)/mean': 3 });
    assert.deepStrictEqual(Object.keys(balanceOf([1]) ?? {}), balanceFigures as string[]);
  });

  it('is null where there is no load', () => {
    assert.isNull(balanceOf([]));
    assert.isNull(balanceOf([0, 0]));
  });
});

describe('percentile', () => {
  it('interpolates as numpy.percentile does', () => {
    const values = [15, 20, 35, 40, 50];
    // numpy.percentile(values, [0, 5, 30, 40, 50, 95, 100])
    for (const [percent, expected] of [
      [0, 15],
      [5, 16],
      [30, 23],
      [40, 29],
      [50, 35],
      [95, 48],
      [100, 50],
    ]) {
      assert.closeTo(percentile(values, percent), expected, 1e-12);
    }
    assert.deepStrictEqual(values, [15, 20, 35, 40, 50], 'the values are left as they are');
    assert.strictEqual(percentile([10, 9], 100), 10, 'numbers are not sorted as texts');
    assert.strictEqual(percentile([7], 95), 7);
  });

  it('refuses what it cannot compute', () => {
    expectError(() => percentile([], 50), { code: 'OPTION', message: /values is \[\]/ });
    expectError(() => percentile([1], 101), { code: 'OPTION', message: /percent is 101/ });
    expectError(() => percentile([1], Number.NaN), { code: 'OPTION' });
  });
});

describe('spreadOf', () => {
  it('has the median, the 95th percentile and the worst of each figure, leaving out what has no load', () => {
    const layers = [[1, 1], [3, 1], null, [2, 0]].map((loads) => (loads === null ? null : balanceOf(loads)));
    const spread = spreadOf(layers);
    // max/mean: 1, 1.5, 2
    assert.deepStrictEqual(spread?.['max/mean'], { p50: 1.5, p95: 1.95, worst: 2 });
    // mean/max, from the best to the worst: 1, 2/3, 1/2
    assert.closeTo(spread?.['mean/max'].p50 ?? 0, 2 / 3, 1e-12);
    assert.closeTo(spread?.['mean/max'].p95 ?? 0, 0.5 + (2 / 3 - 0.5) * 0.1, 1e-12);
    assert.strictEqual(spread?.['mean/max'].worst, 0.5);
    assert.deepStrictEqual(spread?.['(max-mean)/mean'], { p50: 0.5, p95: 0.95, worst: 1 });
    assert.isNull(spreadOf([]));
    assert.isNull(spreadOf([null]));
  });
});

describe('rankLoads', () => {
  it('gives each replica an equal share', () => {
    const plan = createPlan([[0, 1, 2, 0, 0, -1]], { numRanks: 3, numExperts: 4 });
    assert.deepStrictEqual([...rankLoads([9, 1, 2, 5], plan, 0)], [4, 5, 3]);
  });

  it('refuses loads of other experts, and layers that there are not', () => {
    const plan = linear({ numExperts: 4, numRanks: 2 });
    expectError(() => rankLoads([1, 2], plan, 0), { code: 'PLACEMENT', message: /there are 2 loads for 4 experts/ });
    expectError(() => rankLoads([1, 2, 3, 4], plan, 1), { code: 'OPTION', message: /layer is 1/ });
  });
});

describe('lowerBound', () => {
  it('is the mean, or the share of the busiest replica', () => {
    assert.strictEqual(lowerBound([4, 4, 4, 4], { numPhysicalExperts: 4, numRanks: 2 }), 8);
    assert.strictEqual(lowerBound([10, 1, 1], { numPhysicalExperts: 3, numRanks: 3 }), 10);
    assert.strictEqual(lowerBound([10, 1, 1], { numPhysicalExperts: 4, numRanks: 4 }), 5);
    assert.strictEqual(lowerBound([9, 9, 1], { numPhysicalExperts: 5, numRanks: 5 }), 4.5);
    assert.strictEqual(lowerBound([0, 0], { numPhysicalExperts: 2, numRanks: 2 }), 0);
  });

  it('is beaten by no plan: every assignment of the slots of small cases', () => {
    const cases = fc.record({
      loads: fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 2, maxLength: 3 }),
      slotsPerRank: fc.integer({ min: 1, max: 2 }),
      numRanks: fc.integer({ min: 2, max: 3 }),
    });
    fc.assert(
      fc.property(cases, ({ loads, slotsPerRank, numRanks }) => {
        const numPhysicalExperts = slotsPerRank * numRanks;
        fc.pre(numPhysicalExperts >= loads.length);
        const bound = lowerBound(loads, { numPhysicalExperts, numRanks });
        for (let code = 0; code < loads.length ** numPhysicalExperts; code++) {
          const slots = Array.from(
            { length: numPhysicalExperts },
            (_, slot) => Math.floor(code / loads.length ** slot) % loads.length,
          );
          if (new Set(slots).size < loads.length) continue;
          const busiest = Math.max(...rankLoads(loads, createPlan([slots], { numRanks, numExperts: loads.length }), 0));
          assert.isAtLeast(busiest, bound - 1e-9, slots.join(' '));
        }
      }),
      { numRuns: 60 },
    );
  });

  it('is beaten by no plan of EPLB, and is reached where it can be', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 16, maxLength: 16 }), (loads) => {
        const shape = { numPhysicalExperts: 24, numRanks: 8 };
        const busiest = Math.max(...rankLoads(loads, rebalance([loads], shape), 0));
        assert.isAtLeast(busiest * (1 + 1e-12), lowerBound(loads, shape));
      }),
    );
    const loads = [8, 1, 1, 1, 1, 1, 1, 1];
    const shape = { numPhysicalExperts: 12, numRanks: 12 };
    assert.strictEqual(Math.max(...rankLoads(loads, rebalance([loads], shape), 0)), lowerBound(loads, shape));
  });

  it('refuses numbers that do not fit', () => {
    expectError(() => lowerBound([1, 2], { numPhysicalExperts: 1, numRanks: 1 }), {
      code: 'OPTION',
      message: /numPhysicalExperts is 1/,
    });
    expectError(() => lowerBound([1, 2], { numPhysicalExperts: 2, numRanks: 0 }), {
      code: 'OPTION',
      message: /numRanks is 0/,
    });
    expectError(() => lowerBound([1, -2], { numPhysicalExperts: 2, numRanks: 1 }), {
      code: 'PLACEMENT',
      message: /is -2/,
    });
  });
});

describe('findingsOf', () => {
  it('names the layer, the rank and the expert of replicas that share a rank, lost experts, and empty slots', () => {
    const plan = createPlan(
      [
        [0, 1, 2, 3],
        [0, 0, 3, -1],
      ],
      { numRanks: 2, layerIds: [3, 7] },
    );
    assert.deepStrictEqual(findingsOf(plan), [
      {
        kind: 'replicas-share-rank',
        layerId: 7,
        rank: 0,
        expert: 0,
        slot: 1,
        message: 'layer 7, rank 0: expert 0 has another replica there, in slot 1',
      },
      {
        kind: 'empty-slot',
        layerId: 7,
        rank: 1,
        expert: null,
        slot: 3,
        message: 'layer 7, rank 1: slot 3 holds no expert (-1)',
      },
      {
        kind: 'missing-expert',
        layerId: 7,
        rank: null,
        expert: 1,
        slot: null,
        message: 'layer 7: expert 1 is on no rank',
      },
      {
        kind: 'missing-expert',
        layerId: 7,
        rank: null,
        expert: 2,
        slot: null,
        message: 'layer 7: expert 2 is on no rank',
      },
    ]);
  });

  it('finds nothing in a plan where nothing is odd', () => {
    assert.isEmpty(findingsOf(linear({ numExperts: 8, numRanks: 4, numLayers: 2 })));
  });
});
