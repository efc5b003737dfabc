/** `rebalance` against EPLB itself, against an oracle, and against what it promises. */
import { existsSync, readFileSync } from 'node:fs';
import { assert } from 'chai';
import { createPlan, linear, type PlacementPlan, rebalance, roundRobin } from 'dispatch-layout/placement';
import fc from 'fast-check';
import { sumFloat32 } from '../../ts/placement/sum-float32.ts';
import { expectError } from '../support/expect.ts';
import { root } from '../support/root.ts';
import { rebalanceOracle } from './oracle.ts';

/** What EPLB (commit d52c72d, with a stable sort, in PyTorch 1.13 on AVX2) made of loads that a formula gives. */
interface EplbVector {
  readonly seed: number;
  readonly modulus: number;
  readonly numLayers: number;
  readonly numExperts: number;
  readonly numPhysicalExperts: number;
  readonly numGroups: number;
  readonly numNodes: number;
  readonly numRanks: number;
  readonly phy2log: number[][];
  readonly log2phy: number[][][];
}

const vectors: EplbVector[] = JSON.parse(readFileSync(new URL('eplb-vectors.json', import.meta.url), 'utf8'));

function loadsOf({ seed, modulus, numLayers, numExperts }: EplbVector): number[][] {
  let state = BigInt(seed);
  return Array.from({ length: numLayers }, () =>
    Array.from({ length: numExperts }, () => {
      state = (state * 1103515245n + 12345n) % 2n ** 31n;
      return Number((state >> 3n) % BigInt(modulus));
    }),
  );
}

const rowsOf = (plan: PlacementPlan) => plan.physicalToLogical.map((row) => [...row]);
const replicasOf = (plan: PlacementPlan) => plan.logicalToPhysical.map((layer) => layer.map((slots) => [...slots]));

describe('rebalance', () => {
  for (const vector of vectors) {
    const { seed, numExperts, numPhysicalExperts, numGroups, numNodes, numRanks } = vector;
    const name = `${numExperts} experts in ${numPhysicalExperts} slots, ${numGroups} groups, ${numNodes} nodes, ${numRanks} ranks`;
    it(`equals EPLB: ${name} (seed ${seed})`, () => {
      const plan = rebalance(loadsOf(vector), vector);
      assert.deepStrictEqual(rowsOf(plan), vector.phy2log);
      assert.deepStrictEqual(replicasOf(plan), vector.log2phy);
      assert.deepStrictEqual(
        plan.replicaCount.map((counts) => [...counts]),
        vector.log2phy.map((layer) => layer.map((slots) => slots.length)),
      );
    });
  }

  it('equals the example in the README of EPLB', () => {
    const loads = [
      [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
      [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
    ];
    const plan = rebalance(loads, { numPhysicalExperts: 16, numGroups: 4, numNodes: 2, numRanks: 8 });
    assert.deepStrictEqual(rowsOf(plan), [
      [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
      [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1],
    ]);
    assert.deepStrictEqual(replicasOf(plan)[0].slice(0, 6), [[12], [15, 13], [11], [6], [7, 5], [0, 2]]);
  });

  const samples = `${root}../shared/samples/vectors.json`;
  it('equals the vectors of the samples', function () {
    if (!existsSync(samples)) this.skip();
    const all = JSON.parse(readFileSync(samples, 'utf8')) as { id: string; input: never; expected: never }[];
    const cases = all.filter(({ id }) => id.startsWith('eplb_'));
    assert.isNotEmpty(cases);
    for (const { id, input, expected } of cases) {
      const { weight, num_replicas, num_groups, num_nodes, num_gpus } = input as Record<string, never>;
      const { phy2log, log2phy, logcnt } = expected as {
        phy2log: number[][];
        log2phy: number[][][];
        logcnt: number[][];
      };
      const plan = rebalance(weight, {
        numPhysicalExperts: num_replicas,
        numGroups: num_groups,
        numNodes: num_nodes,
        numRanks: num_gpus,
      });
      assert.deepStrictEqual(
        plan.replicaCount.map((counts) => [...counts]),
        logcnt,
        id,
      );
      // Where loads are equal, the sort that was not stable decided
      if (id === 'eplb_no_redundancy' || id === 'eplb_zero_load') continue;
      assert.deepStrictEqual(rowsOf(plan), phy2log, id);
      assert.deepStrictEqual(
        replicasOf(plan),
        log2phy.map((layer) => layer.map((slots) => slots.filter((slot) => slot >= 0))),
        id,
      );
    }
  });

  it('equals the oracle, also where loads are equal or 0', () => {
    const shapes = fc
      .record({
        numNodes: fc.integer({ min: 1, max: 4 }),
        groupsPerNode: fc.integer({ min: 1, max: 3 }),
        groupSize: fc.integer({ min: 1, max: 6 }),
        ranksPerNode: fc.integer({ min: 1, max: 4 }),
        more: fc.integer({ min: 0, max: 3 }),
        isUneven: fc.boolean(),
      })
      .chain(({ numNodes, groupsPerNode, groupSize, ranksPerNode, more, isUneven }) => {
        const numExperts = numNodes * groupsPerNode * groupSize;
        const numRanks = numNodes * ranksPerNode;
        const options = {
          numPhysicalExperts: (Math.ceil(numExperts / numRanks) + more) * numRanks,
          numGroups: numNodes * groupsPerNode + (isUneven ? 1 : 0),
          numNodes,
          numRanks,
        };
        const load = fc.oneof(fc.constantFrom(0, 1, 2), fc.integer({ min: 0, max: 2 ** 20 }));
        return fc.tuple(fc.array(load, { minLength: numExperts, maxLength: numExperts }), fc.constant(options));
      })
      .filter(([loads, { numGroups, numNodes }]) => numGroups % numNodes !== 0 || loads.length % numGroups === 0);
    fc.assert(
      fc.property(shapes, ([loads, options]) => {
        const plan = rebalance([loads], options);
        const expected = rebalanceOracle(loads, options);
        assert.deepStrictEqual(rowsOf(plan)[0], expected.physicalToLogical);
        assert.deepStrictEqual(replicasOf(plan)[0], expected.logicalToPhysical);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps the experts of a group, with their replicas, in one node', () => {
    const loads = [Array.from({ length: 64 }, (_, expert) => (expert * 37) % 50)];
    const plan = rebalance(loads, { numPhysicalExperts: 80, numGroups: 8, numNodes: 4, numRanks: 16 });
    for (let group = 0; group < 8; group++) {
      const slots = plan.logicalToPhysical[0].slice(group * 8, group * 8 + 8).flatMap((each) => [...each]);
      assert.lengthOf(new Set(slots.map((slot) => Math.floor(slot / 20))), 1);
    }
  });

  it('takes less than 50 ms of processor time for 61 layers of 256 experts in 288 slots', () => {
    const loads = Array.from({ length: 61 }, (_, layer) =>
      Array.from({ length: 256 }, (_, expert) => ((expert + 1) * (layer + 7) * 7919) % 100_003),
    );
    const options = { numPhysicalExperts: 288, numGroups: 8, numNodes: 4, numRanks: 32 };
    const times = Array.from({ length: 9 }, () => {
      const before = process.cpuUsage();
      rebalance(loads, options);
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000;
    });
    assert.isBelow(Math.min(...times), 50);
  });

  it('refuses what EPLB asserts against, and loads that are none', () => {
    const loads = [[1, 2, 3, 4]];
    const good = { numPhysicalExperts: 8, numRanks: 4 };
    for (const [options, message] of [
      [{ ...good, numPhysicalExperts: 6 }, /numPhysicalExperts is 6\. It must be a multiple of numRanks, 4/],
      [{ numPhysicalExperts: 2, numRanks: 2 }, /numPhysicalExperts is 2\. There are 4 experts/],
      [{ ...good, numNodes: 3, numGroups: 3 }, /the number of experts is 4\. It must be a multiple of numGroups, 3/],
      [
        { numPhysicalExperts: 9, numRanks: 9, numNodes: 2, numGroups: 2 },
        /numRanks is 9\. It must be a multiple of numNodes, 2/,
      ],
      [{ ...good, numNodes: 0 }, /numNodes is 0/],
      [{ ...good, numGroups: 1.5 }, /numGroups is 1\.5/],
      [{ ...good, numPhysicalExperts: '8' as never }, /numPhysicalExperts is '8'/],
    ] as const) {
      expectError(() => rebalance(loads, options), { code: 'OPTION', message });
    }
    expectError(() => rebalance(loads, { ...good, numRanks: 0 }), { code: 'NUM_RANKS' });
    expectError(() => rebalance([[1, -1, 0, 0]], good), {
      code: 'PLACEMENT',
      value: -1,
      message: /loads\[0\]\[1\] is -1/,
    });
    expectError(() => rebalance([[1, Number.NaN, 0, 0]], good), {
      code: 'PLACEMENT',
      message: /loads\[0\]\[1\] is NaN/,
    });
    expectError(
      () =>
        rebalance(
          [
            [1, 2, 3, 4],
            [1, 2],
          ],
          good,
        ),
      { code: 'PLACEMENT', message: /loads\[1\] has 2 experts/ },
    );
    expectError(() => rebalance(5 as never, good), { code: 'PLACEMENT', message: /loads is 5/ });
  });
});

describe('sumFloat32', () => {
  // What `torch.tensor(values).float().sum(-1)` is in PyTorch 1.13 on AVX2, by the number of values
  const sums: readonly (readonly [number, number])[] = [
    [5, 781886336],
    [6, 809456640],
    [7, 1071884544],
    [8, 1332315648],
    [9, 1397729536],
    [17, 2366454528],
    [33, 4673399808],
    [48, 6511360512],
    [64, 8540350976],
    [130, 17584189440],
    [700, 93878190080],
    [2048, 276343095296],
    [5000, 671114199040],
    [20000, 2680789925888],
  ];

  it("adds in PyTorch's order, which decides the last bits", () => {
    let numDifferent = 0;
    for (const [length, expected] of sums) {
      const [loads] = loadsOf({ seed: 7, modulus: 2 ** 28, numLayers: 1, numExperts: length } as EplbVector);
      const values = Float32Array.from([0, ...loads]);
      assert.strictEqual(sumFloat32(values, 1, length + 1), expected, `${length} values`);
      if (loads.reduce((sum, load) => Math.fround(sum + Math.fround(load)), 0) !== expected) numDifferent++;
    }
    assert.isAbove(numDifferent, sums.length / 2, 'one by one, the sums would differ');
  });
});

describe('linear and roundRobin', () => {
  it('place as vLLM does: blocks of which the first are larger, or one by one', () => {
    assert.deepStrictEqual(rowsOf(linear({ numExperts: 7, numRanks: 3 })), [[0, 1, 2, 3, 4, -1, 5, 6, -1]]);
    assert.deepStrictEqual(rowsOf(roundRobin({ numExperts: 7, numRanks: 3 })), [[0, 3, 6, 1, 4, -1, 2, 5, -1]]);
    assert.deepStrictEqual(rowsOf(linear({ numExperts: 4, numRanks: 2, numLayers: 2 })), [
      [0, 1, 2, 3],
      [0, 1, 2, 3],
    ]);
    assert.deepStrictEqual(rowsOf(linear({ numExperts: 1, numRanks: 3 })), [[0, -1, -1]]);
  });

  it('refuse numbers that are none', () => {
    for (const place of [linear, roundRobin]) {
      expectError(() => place({ numExperts: 0, numRanks: 2 }), { code: 'NUM_EXPERTS' });
      expectError(() => place({ numExperts: 4, numRanks: 1.5 }), { code: 'NUM_RANKS' });
      expectError(() => place({ numExperts: 4, numRanks: 2, numLayers: 0 }), { code: 'OPTION' });
    }
  });
});

describe('createPlan', () => {
  it('finds the replicas of each expert, in ascending order unless it is told another', () => {
    const slots = [[2, 0, 2, -1]];
    const plan = createPlan(slots, { numRanks: 2, numExperts: 4 });
    assert.deepStrictEqual(replicasOf(plan), [[[1], [], [0, 2], []]]);
    assert.deepStrictEqual([...plan.replicaCount[0]], [1, 0, 2, 0]);
    const told = createPlan(slots, { numRanks: 2, numExperts: 4, logicalToPhysical: [[[1], [], [2, 0], []]] });
    assert.deepStrictEqual(replicasOf(told), [[[1], [], [2, 0], []]]);
  });

  it('names the layer, the slot and the rank of what is wrong', () => {
    const create = (rows: unknown, shape: object = {}) => createPlan(rows as number[][], { numRanks: 2, ...shape });
    for (const [run, message] of [
      [
        () => create([[0, 1, 2, 9]], { numExperts: 4 }),
        /layer 0, physical expert 3 \(rank 1\) is 9, not an expert in \[0, 4\)/,
      ],
      [
        () =>
          create(
            [
              [0, 1],
              [0, -2],
            ],
            { layerIds: [3, 4] },
          ),
        /layer 4, physical expert 1 \(rank 1\) is -2, not an expert/,
      ],
      [() => create([[0, 1.5]]), /layer 0, physical expert 1 \(rank 1\) is 1\.5/],
      [() => create([[0, 1, 2]]), /3 physical experts do not divide evenly among 2 ranks/],
      [() => create([[0, 1], [0]]), /layer 1 has 1 physical experts, but layer 0 has 2/],
      [() => create(7), /physicalToLogical is 7/],
      [
        () => create([[0, 1]], { logicalToPhysical: [[[0], [0]]] }),
        /layer 0, the replicas of expert 1 are \[0\], but it is in the slots \[1\]/,
      ],
    ] as const) {
      expectError(run, { code: 'PLACEMENT', message });
    }
    expectError(() => create([[0, 1]], { layerIds: [] }), { code: 'OPTION' });
    expectError(() => create([[0, 1]], { layerIds: [-1] }), { code: 'OPTION' });
    expectError(() => create([[0, 1]], { numRanks: undefined }), { code: 'NUM_RANKS' });
  });
});
