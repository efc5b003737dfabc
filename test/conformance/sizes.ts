/**
 * Directed sizes: every pair of interesting numbers of tokens, slots, experts, ranks and ranks per node. They are
 * around the limits of the blocks, chunks, counters and tables of the devices.
 *
 * @module
 */
import { expectAnswer, expectArrays } from '../support/expect.ts';
import { expectUntouched, markedArrays } from '../support/marked-arrays.ts';
import { Random } from '../support/random.ts';
import { type IdType, idArray, idRange, type TopkStorage } from '../support/topk-storage.ts';
import type { TestDevice } from './devices.ts';
import { setting } from './loader.ts';
import { answer, packRows, rowsOf } from './oracle.ts';

const tokenCounts = [1, 2, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025];
const topkCounts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 16, 17, 63, 64, 65, 100, 300];
const expertCounts = [
  1, 2, 60, 64, 255, 256, 257, 288, 1023, 1024, 4085, 4086, 4087, 4088, 4089, 4095, 4096, 4097, 8192, 33000, 65535,
  65536, 70000,
];
// With 34, 51, 66, 130, 195 and 520 ranks there are 17, 33 and 65 nodes of several ranks.
const rankCounts = [
  1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 34, 47, 48, 49, 51, 62, 63, 64, 65, 66, 72, 100, 128, 130, 160, 195, 255,
  256, 257, 320, 511, 512, 513, 520, 1000,
];
const nodeSizes = [1, 2, 3, 4, 8, 72];

interface Size {
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly type?: IdType;
}

/** Random ids of the type in `[0, numExperts)`. If the type is signed, a share of them is -1. */
function randomTopkIdx(random: Random, { numTokens, numTopk, numExperts, type = 'int64' }: Size): TopkStorage {
  const [smallest, largest] = idRange[type];
  const bound = Math.min(numExperts, Number(largest) + 1);
  const emptyShare = smallest < 0n ? random.pick([0, 0, 0.1, 0.5]) : 0;
  const ids = Array.from({ length: numTokens * numTopk }, () => (random.chance(emptyShare) ? -1 : random.below(bound)));
  return { data: idArray(type, ids), shape: [numTokens, numTopk] };
}

/** The node sizes that are valid for this number of ranks. */
const nodeSizesFor = (numRanks: number) => nodeSizes.filter((size) => numRanks <= size || numRanks % size === 0);

/** All values. If `DISPATCH_LAYOUT_TEST_RUNS` is below 1, only about that share of them, but at least one. */
function some<Value>(random: Random, values: readonly Value[]): readonly Value[] {
  const share = Number(setting('DISPATCH_LAYOUT_TEST_RUNS') ?? 1);
  if (share >= 1) return values;
  const part = values.filter(() => random.chance(share));
  return part.length > 0 ? part : [random.pick(values)];
}

/** Declares the directed sizes on one device. */
export function sizes(device: TestDevice): void {
  /** Compares one request of this size, whose other options are drawn from `random`, with the oracle. */
  function check(random: Random, size: Size, wholeBlocks = false): void {
    const { numExperts, numRanks } = size;
    const topkIdx = randomTopkIdx(random, size);
    const placed = !wholeBlocks && random.chance(0.5);
    const group = {
      numRanks,
      numRanksPerNode: random.pick(nodeSizesFor(numRanks)),
      ...(placed && { placement: Int32Array.from({ length: numExperts }, () => random.below(numRanks)) }),
    };
    const even = placed || numExperts % numRanks === 0;
    const invalidExperts = even && random.chance(0.7) ? 'throw' : 'ignore';
    const mask = random.pick(['bytes', 'bits'] as const);
    const expected = answer({ ...group, rows: rowsOf(topkIdx), numExperts, invalidExperts, mask });
    try {
      expectAnswer(() => device.getDispatchLayout(topkIdx, numExperts, group, { invalidExperts, mask }), expected);
    } catch (error) {
      const { numTokens, numTopk, type = 'int64' } = size;
      const description = {
        numTokens,
        numTopk,
        numExperts,
        type,
        ...group,
        placement: placed,
        invalidExperts,
      };
      throw new Error(`${JSON.stringify(description)}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }

  /** Draws an ordinary number for a size that the pair does not determine. */
  const any = {
    tokens: (random: Random) => random.pick([1, 5, 40, 128, 131]),
    topk: (random: Random) => random.pick([1, 2, 6, 8, 10]),
    experts: (random: Random) => random.pick([8, 60, 64, 256, 300, 1024]),
    ranks: (random: Random) => random.pick([1, 4, 8, 16, 24, 64, 80, 200]),
    type: (random: Random) =>
      random.pick<IdType>(['int64', 'int64', 'int32', 'int16', 'uint8', 'int8', 'uint16', 'uint32', 'uint64']),
  };

  describe('sizes', () => {
    for (const numRanks of rankCounts) {
      it(`${numRanks} ranks with every number of experts, slots and tokens, and every node size`, () => {
        const random = new Random(numRanks);
        for (const numExperts of some(random, expertCounts)) {
          check(random, {
            numTokens: any.tokens(random),
            numTopk: any.topk(random),
            numExperts,
            numRanks,
            type: any.type(random),
          });
        }
        for (const numTopk of some(random, topkCounts)) {
          check(random, {
            numTokens: any.tokens(random),
            numTopk,
            numExperts: any.experts(random),
            numRanks,
            type: any.type(random),
          });
        }
        for (const numTokens of some(random, tokenCounts)) {
          check(random, {
            numTokens,
            numTopk: any.topk(random),
            numExperts: any.experts(random),
            numRanks,
            type: any.type(random),
          });
        }
        // Here the experts are in contiguous blocks of one, two and three per rank.
        for (const numExpertsPerRank of [1, 2, 3]) {
          const numExperts = numRanks * numExpertsPerRank;
          check(random, { numTokens: 150, numTopk: 8, numExperts, numRanks }, true);
        }
      });
    }

    for (const numExperts of expertCounts) {
      it(`${numExperts} experts with every number of slots and tokens, and every type`, () => {
        const random = new Random(numExperts);
        for (const numTopk of some(random, topkCounts)) {
          check(random, {
            numTokens: any.tokens(random),
            numTopk,
            numExperts,
            numRanks: any.ranks(random),
            type: any.type(random),
          });
        }
        for (const numTokens of some(random, tokenCounts)) {
          check(random, {
            numTokens,
            numTopk: any.topk(random),
            numExperts,
            numRanks: any.ranks(random),
            type: any.type(random),
          });
        }
        for (const type of some(random, Object.keys(idRange) as IdType[])) {
          check(random, { numTokens: 140, numTopk: 8, numExperts, numRanks: any.ranks(random), type });
        }
      });
    }

    for (const numTopk of topkCounts) {
      it(`${numTopk} slots with every number of tokens`, () => {
        const random = new Random(numTopk);
        for (const numTokens of some(random, tokenCounts)) {
          check(random, {
            numTokens,
            numTopk,
            numExperts: any.experts(random),
            numRanks: any.ranks(random),
            type: any.type(random),
          });
        }
      });
    }

    // These are typical sizes of real models, and lengths of more than one chunk.
    for (const [numTokens, numTopk, numExperts, numRanks, type] of [
      [4096, 8, 256, 8, 'int64'],
      [4096, 8, 256, 64, 'int64'],
      [8192, 8, 288, 32, 'int32'],
      [5000, 10, 512, 320, 'int64'],
      [5000, 300, 64, 8, 'int64'],
      [5000, 65, 4097, 513, 'int32'],
      [16384, 8, 1024, 256, 'int64'],
      [70001, 2, 8, 8, 'int64'],
      [70001, 8, 256, 64, 'int64'],
      [70001, 1, 8192, 100, 'int32'],
      [70001, 6, 64, 16, 'uint8'],
      [70001, 3, 300, 300, 'int16'],
      [8300, 4, 2000, 1000, 'int64'],
      [300_001, 2, 60, 4, 'int32'],
      [4095, 8, 64, 8, 'int64'],
      [4097, 8, 64, 64, 'int64'],
      [8193, 8, 64, 64, 'int32'],
      [3, 8191, 64, 8, 'int64'],
      [3, 8192, 9000, 8, 'int32'],
      [3, 8193, 64, 80, 'uint16'],
      [5, 33000, 60, 5, 'int64'],
      [4, 300, 300_000, 270_000, 'int32'],
      [2, 3, 1_000_000, 64, 'int64'],
      // With few experts and at least 64 ids per expert, wasm counts in several copies of its table. Their number is
      // smaller from 129, 265 and 537 experts on.
      [512, 1, 8, 8, 'int64'],
      [511, 1, 8, 8, 'int64'],
      [3000, 3, 127, 8, 'int32'],
      [3000, 3, 128, 64, 'int64'],
      [3000, 3, 129, 80, 'int16'],
      [6000, 3, 264, 64, 'int64'],
      [6000, 5, 265, 8, 'int64'],
      [2047, 8, 256, 8, 'int64'],
      [2048, 8, 256, 16, 'int64'],
      [4500, 8, 536, 8, 'int64'],
      [4500, 8, 537, 96, 'uint16'],
    ] as [number, number, number, number, IdType][]) {
      it(`T=${numTokens} K=${numTopk} E=${numExperts} R=${numRanks} ${type}`, () => {
        check(new Random(numTokens), { numTokens, numTopk, numExperts, numRanks, type });
      });
    }

    // These counts would overflow any intermediate counter of 8 or 16 bits.
    for (const numRanks of [1, 2, 8, 9, 16, 17, 64, 65, 128, 513]) {
      it(`every token goes to one rank: ${numRanks} ranks`, () => {
        const expert = numRanks - 1;
        for (const numTokens of [254, 255, 256, 257, 509, 510, 511, 512, 65535, 65536, 65537]) {
          if (numTokens > 600 && numRanks > 128) continue;
          const topkIdx = { data: Int32Array.of(expert), shape: [numTokens, 1], strides: [0, 0] } as const;
          const group = { numRanks, numRanksPerNode: numRanks };
          const layout = device.getDispatchLayout(topkIdx, numRanks, group);
          const counts = new Array<number>(numRanks).fill(0);
          counts[expert] = numTokens;
          const isTokenInRank = new Uint8Array(numTokens * numRanks);
          for (let token = 0; token < numTokens; token += 1) isTokenInRank[token * numRanks + expert] = 1;
          const expected = { numTokensPerRank: counts, numTokensPerExpert: counts, numTokensPerRdmaRank: null };
          expectArrays(layout, { ...expected, isTokenInRank });
          const packed = device.getDispatchLayout(topkIdx, numRanks, group, { mask: 'bits' });
          expectArrays(packed, { ...expected, isTokenInRank: packRows(isTokenInRank, numRanks) });
        }
      });

      it(`every token goes to every rank, one rank per node: ${numRanks} ranks`, () => {
        for (const numTokens of [255, 256, 257, 511, 1030]) {
          const data = Int16Array.from({ length: numRanks }, (_, index) => numRanks - 1 - index);
          const topkIdx = { data, shape: [numTokens, numRanks], strides: [0, 1] } as const;
          const group = { numRanks, numRanksPerNode: 1 };
          const layout = device.getDispatchLayout(topkIdx, numRanks, group);
          const counts = new Array<number>(numRanks).fill(numTokens);
          const isTokenInRank = new Uint8Array(numTokens * numRanks).fill(1);
          const expected = {
            numTokensPerRank: counts,
            numTokensPerExpert: counts,
            numTokensPerRdmaRank: numRanks === 1 ? null : counts,
          };
          expectArrays(layout, { ...expected, isTokenInRank });
          const packed = device.getDispatchLayout(topkIdx, numRanks, group, { mask: 'bits' });
          expectArrays(packed, { ...expected, isTokenInRank: packRows(isTokenInRank, numRanks) });
        }
      });
    }

    for (const numTopk of [255, 256, 257, 300, 70_000, 600_000]) {
      it(`the same expert is in all of ${numTopk} slots`, () => {
        for (const [numTokens, data] of [
          [numTopk > 1000 ? 9 : 257, BigInt64Array.of(5n)],
          [3, Uint8Array.of(5)],
        ] as const) {
          const layout = device.getDispatchLayout({ data, shape: [numTokens, numTopk], strides: [0, 0] }, 8, {
            numRanks: 2,
          });
          expectArrays(layout, {
            numTokensPerRank: [0, numTokens],
            numTokensPerRdmaRank: null,
            numTokensPerExpert: [0, 0, 0, 0, 0, numTokens * numTopk, 0, 0],
            isTokenInRank: Uint8Array.from({ length: numTokens * 2 }, (_, index) => index % 2),
          });
        }
      });
    }

    describe('the first invalid id is found', () => {
      for (const [numTopk, numExperts, numRanks] of [
        [8, 256, 8],
        [1, 64, 64],
        [6, 60, 4],
        [7, 320, 80],
        [65, 128, 16],
        [2, 8192, 2],
        [3, 9000, 600],
      ]) {
        for (const type of ['int64', 'int32', 'int16', 'uint32'] as const) {
          it(`K=${numTopk} E=${numExperts} R=${numRanks} ${type}`, () => {
            const numTokens = 1300;
            const length = numTokens * numTopk;
            const random = new Random(numTopk);
            const data = idArray(
              type,
              Array.from({ length }, () => random.below(numExperts)),
            );
            const group = device.createGroup({ numRanks });
            const tokens = [0, 1, 7, 8, 126, 127, 128, 129, 255, 256, 511, 512, 1023, 1024, 1298, 1299];
            for (const token of tokens) {
              for (const slot of new Set([0, numTopk >> 1, numTopk - 1])) {
                const hostile = random.pick(
                  [BigInt(numExperts), -2n, idRange[type][1], idRange[type][0]].filter(
                    (id) => id >= idRange[type][0] && (id < 0n || id >= numExperts),
                  ),
                );
                const first = token * numTopk + slot;
                // The second and third invalid ids, which come after it, must not be reported.
                const indices = [
                  first,
                  Math.min(length - 1, first + 1 + random.below(20)),
                  random.between(first, length - 1),
                ];
                const before = indices.map((index) => data[index]);
                for (const index of indices) data[index] = idArray(type, [hostile])[0];
                expectAnswer(() => group.getDispatchLayout({ data, shape: [numTokens, numTopk] }, numExperts), {
                  error: { code: 'INVALID_EXPERT', offender: { token, slot, value: hostile } },
                });
                for (const [nth, index] of [...indices.entries()].reverse()) data[index] = before[nth];
              }
            }
          });
        }
      }

      for (const reused of [false, true]) {
        it(`near the end of a large input${reused ? ', and the arrays of the caller stay as they were' : ''}`, () => {
          const shape = [70001, 8] as const;
          const out = markedArrays({ numTokens: shape[0], numExperts: 256, numRanks: 8 });
          const data = new BigInt64Array(shape[0] * 8).fill(3n);
          for (const index of [shape[0] * 8 - 1, 69999 * 8 + 2, 65536 * 8, 65535 * 8 + 7, 300_000]) {
            data[index] = 256n;
            const options = reused ? { out } : {};
            expectAnswer(() => device.getDispatchLayout({ data, shape }, 256, { numRanks: 8 }, options), {
              error: {
                code: 'INVALID_EXPERT',
                offender: { token: Math.floor(index / 8), slot: index % 8, value: 256n },
              },
            });
          }
          expectUntouched(out);
        });
      }
    });
  });
}
