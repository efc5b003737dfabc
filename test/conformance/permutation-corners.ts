/**
 * Hand-made cases of the two orders of rows, for every row of their contract. The expected numbers were worked out by
 * hand.
 *
 * @module
 */
import { assert } from 'chai';
import {
  type ExpertPermutationOptions,
  expertEnds,
  expertOfBlock,
  expertOfRow,
  maxRows,
  type RankPermutationOptions,
} from 'dispatch-layout';
import { expectError } from '../support/expect.ts';
import { expectOrder } from '../support/expect-order.ts';
import { isUntouched } from '../support/marked-arrays.ts';
import { type IdType, idTypeNames, storageOf } from '../support/topk-storage.ts';
import type { GroupOptions, TestDevice } from './devices.ts';

type Ids = readonly (readonly (number | bigint)[])[];

/** Two slots of four tokens. Expert 1 has selections of three tokens, expert 2 has none. */
const ids: Ids = [
  [1, 0],
  [3, -1],
  [1, 3],
  [0, 1],
];

/** Declares all hand-made cases on one device. */
export function permutationCorners(device: TestDevice): void {
  const byExpert = (rows: Ids, numExperts: number, options: ExpertPermutationOptions = {}, type: IdType = 'int64') =>
    device.createGroup({ numRanks: 1 }).getExpertPermutation(storageOf(type, rows, 2), numExperts, options);
  const byRank = (rows: Ids, numExperts: number, group: GroupOptions, options: RankPermutationOptions = {}) =>
    device.createGroup(group).getRankPermutation(storageOf('int64', rows, 2), numExperts, options);

  describe('hand-made permutations', () => {
    describe('by expert', () => {
      it('rows are ordered by (expert, token, slot)', () => {
        const order = byExpert(ids, 4);
        expectOrder(order, {
          numTokensPerExpert: [2, 3, 0, 2],
          expertOffsets: [0, 2, 5, 5, 7],
          selectionOfRow: [1, 6, 0, 4, 7, 2, 5, -1],
          rowOfSelection: [2, 0, 5, -1, 3, 6, 1, 4],
          numRows: 7,
        });
        const { numTokens, numTopk, numExperts, firstExpert, numLocalExperts, alignment } = order;
        assert.deepStrictEqual(
          { numTokens, numTopk, numExperts, firstExpert, numLocalExperts, alignment, device: order.device },
          {
            numTokens: 4,
            numTopk: 2,
            numExperts: 4,
            firstExpert: 0,
            numLocalExperts: 4,
            alignment: 1,
            device: device.device,
          },
        );
        assert.isFalse(order.event.recorded);
      });

      it('the rows of each expert are padded to a multiple of the alignment, and an expert without rows has none', () => {
        const order = byExpert(ids, 4, { alignment: 4 });
        expectOrder(order, {
          numTokensPerExpert: [2, 3, 0, 2],
          expertOffsets: [0, 4, 8, 8, 12],
          // maxRows is 8 + 4 * 3, a multiple of 4
          selectionOfRow: [1, 6, -1, -1, 0, 4, 7, -1, 2, 5, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1],
          rowOfSelection: [4, 0, 8, -1, 5, 9, 1, 6],
          numRows: 12,
        });
        assert.deepStrictEqual([...expertOfRow(order)].slice(0, 12), [0, 0, -1, -1, 1, 1, 1, -1, 3, 3, -1, -1]);
        assert.isTrue(
          expertOfRow(order)
            .subarray(12)
            .every((expert) => expert === -1),
        );
        assert.deepStrictEqual([...expertOfBlock(order, 4)], [0, 1, 3, -1, -1]);
        assert.deepStrictEqual([...expertOfBlock(order, 2)], [0, 0, 1, 1, 3, 3, -1, -1, -1, -1]);
        assert.deepStrictEqual([...expertEnds(order)], [2, 7, 8, 10]);
      });

      it('selections of experts that are not local are not kept, but are valid', () => {
        expectOrder(byExpert(ids, 4, { firstExpert: 1, numLocalExperts: 2 }), {
          numTokensPerExpert: [3, 0],
          expertOffsets: [0, 3, 3],
          selectionOfRow: [0, 4, 7, -1, -1, -1, -1, -1],
          rowOfSelection: [0, -1, -1, -1, 1, -1, -1, 2],
          numRows: 3,
        });
        expectOrder(byExpert(ids, 4, { firstExpert: 3 }), {
          numTokensPerExpert: [2],
          expertOffsets: [0, 2],
          rowOfSelection: [-1, -1, 0, -1, -1, 1, -1, -1],
        });
        for (const firstExpert of [0, 2, 4]) {
          expectOrder(byExpert(ids, 4, { firstExpert, numLocalExperts: 0, alignment: 8 }), {
            numTokensPerExpert: [],
            expertOffsets: [0],
            selectionOfRow: new Array(8).fill(-1),
            rowOfSelection: new Array(8).fill(-1),
            numRows: 0,
          });
        }
        expectError(() => byExpert([[0, 4]], 4, { firstExpert: 1, numLocalExperts: 1 }), {
          code: 'INVALID_EXPERT',
          token: 0,
          slot: 1,
          value: 4n,
        });
      });

      it('an expert that a token selects twice has two rows, in the order of the slots', () => {
        expectOrder(
          byExpert(
            [
              [2, 2],
              [0, 2],
              [2, 2],
            ],
            3,
          ),
          {
            numTokensPerExpert: [1, 0, 5],
            expertOffsets: [0, 1, 1, 6],
            selectionOfRow: [2, 0, 1, 3, 4, 5],
            rowOfSelection: [1, 2, 0, 3, 4, 5],
          },
        );
      });

      for (const type of idTypeNames) {
        it(`ids of type ${type}, with an empty id`, () => {
          const rows = [
            [5, 7],
            [7, 5],
          ];
          expectOrder(byExpert(rows, 6, { emptyId: 7 }, type), {
            numTokensPerExpert: [0, 0, 0, 0, 0, 2],
            selectionOfRow: [0, 3, -1, -1],
            rowOfSelection: [0, -1, -1, 1],
          });
          expectOrder(byExpert(rows, 8, { emptyId: 5, alignment: 2 }, type), {
            expertOffsets: [0, 0, 0, 0, 0, 0, 0, 0, 2],
            selectionOfRow: [1, 2, -1, -1, -1, -1, -1, -1],
          });
        });
      }

      it('invalid ids are errors, or have no rows', () => {
        const rows = [
          [1, 9],
          [-2, 0],
        ];
        expectError(() => byExpert(rows, 4), { code: 'INVALID_EXPERT', token: 0, slot: 1, value: 9n });
        expectOrder(byExpert(rows, 4, { invalidExperts: 'ignore' }), {
          numTokensPerExpert: [1, 1, 0, 0],
          selectionOfRow: [3, 0, -1, -1],
          rowOfSelection: [1, -1, -1, 0],
        });
      });

      it('without tokens or without slots there are no rows', () => {
        expectOrder(byExpert([], 3, { alignment: 16 }), {
          numTokensPerExpert: [0, 0, 0],
          expertOffsets: [0, 0, 0, 0],
          selectionOfRow: [],
          rowOfSelection: [],
          numRows: 0,
        });
        const noSlots = { data: new Int32Array(0), shape: [5, 0] as const };
        expectOrder(device.createGroup({ numRanks: 1 }).getExpertPermutation(noSlots, 3), {
          expertOffsets: [0, 0, 0, 0],
          selectionOfRow: [],
          rowOfSelection: [],
        });
      });

      it('neither uneven experts nor a placement matter', () => {
        const expected = { expertOffsets: [0, 2, 5, 5, 7] };
        for (const group of [{ numRanks: 3 }, { numRanks: 8 }, { numRanks: 2, placement: [-1, -1, 1, 0] }]) {
          const order = device.createGroup(group).getExpertPermutation(storageOf('int32', ids), 4);
          expectOrder(order, expected);
        }
        // The placement is one of four experts
        const group = device.createGroup({ numRanks: 2, placement: [-1, -1, 1, 0] });
        expectOrder(group.getExpertPermutation(storageOf('int32', ids), 5), { expertOffsets: [0, 2, 5, 5, 7, 7] });
      });

      it('maxRows is the length of selectionOfRow', () => {
        for (const [numTokens, numLocalExperts, alignment, expected] of [
          [4, 4, 1, 8],
          [4, 4, 4, 20],
          [4, 3, 4, 16],
          [1, 256, 128, 256],
          [0, 4, 128, 0],
          [4, 0, 3, 6],
        ]) {
          const rows = Array.from({ length: numTokens }, () => [0, 0]);
          assert.strictEqual(maxRows({ numTokens, numTopk: 2, numLocalExperts, alignment }), expected);
          const options = { numLocalExperts, alignment };
          assert.strictEqual(byExpert(rows, 300, options).selectionOfRow.length, expected);
        }
        assert.strictEqual(maxRows({ numTokens: 3, numTopk: 5, numLocalExperts: 9 }), 15);
      });

      it('more rows than int32 can number are an error before anything is written', () => {
        const out = {
          numTokensPerExpert: new Int32Array(4).fill(-77),
          expertOffsets: new Int32Array(5).fill(-77),
          selectionOfRow: new Int32Array(8).fill(-77),
          rowOfSelection: new Int32Array(8).fill(-77),
        };
        const alignment = 2 ** 30;
        expectError(() => byExpert(ids, 4, { alignment, out }), { code: 'TOO_LARGE', message: /up to \d+ rows/ });
        for (const array of Object.values(out)) assert.isTrue(isUntouched(array));
      });
    });

    describe('by rank', () => {
      /** Experts 0 and 1 are on rank 0, experts 2 and 3 on rank 1. */
      const twoRanks: GroupOptions = { numRanks: 2 };

      it('rows are ordered by (rank, token), and the first selection of a token has the row', () => {
        const order = byRank(ids, 4, twoRanks);
        expectOrder(order, {
          numTokensPerRank: [3, 2],
          rankOffsets: [0, 3, 5],
          tokenOfRow: [0, 2, 3, 1, 2, -1, -1, -1],
          rowOfSelection: [0, -1, 3, -1, 1, 4, 2, -1],
          numRows: 5,
        });
        const { numTokens, numTopk, numExperts, numRanks, winner } = order;
        assert.deepStrictEqual(
          { numTokens, numTopk, numExperts, numRanks, winner, device: order.device },
          { numTokens: 4, numTopk: 2, numExperts: 4, numRanks: 2, winner: 'first', device: device.device },
        );
      });

      it('with winner last, the last selection of a token has the row', () => {
        expectOrder(byRank(ids, 4, twoRanks, { winner: 'last' }), {
          tokenOfRow: [0, 2, 3, 1, 2, -1, -1, -1],
          rowOfSelection: [-1, 0, 3, -1, 1, 4, -1, 2],
        });
      });

      it('there are no more rows than ranks for each token', () => {
        expectOrder(byRank(ids, 4, { numRanks: 1 }, { winner: 'last' }), {
          numTokensPerRank: [4],
          rankOffsets: [0, 4],
          tokenOfRow: [0, 1, 2, 3],
          rowOfSelection: [-1, 0, 1, -1, -1, 2, -1, 3],
        });
      });

      it('experts on no rank have no rows', () => {
        expectOrder(byRank(ids, 4, { numRanks: 3, placement: [2, -1, 0, 0] }), {
          numTokensPerRank: [2, 0, 2],
          rankOffsets: [0, 2, 2, 4],
          tokenOfRow: [1, 2, 0, 3, -1, -1, -1, -1],
          rowOfSelection: [-1, 2, 0, -1, -1, 1, 3, -1],
        });
      });

      it('uneven experts are an error, or the last of them are on no rank', () => {
        expectError(() => byRank(ids, 4, { numRanks: 3 }), { code: 'UNEVEN_EXPERTS' });
        expectOrder(byRank(ids, 4, { numRanks: 3 }, { invalidExperts: 'ignore' }), {
          numTokensPerRank: [2, 3, 0],
          tokenOfRow: [0, 3, 0, 2, 3, -1, -1, -1],
        });
      });

      it('invalid ids are errors, or have no rows', () => {
        const rows = [
          [1, 9],
          [-2, 0],
        ];
        expectError(() => byRank(rows, 4, twoRanks), { code: 'INVALID_EXPERT', token: 0, slot: 1, value: 9n });
        expectOrder(byRank(rows, 4, twoRanks, { invalidExperts: 'ignore' }), {
          rankOffsets: [0, 2, 2],
          rowOfSelection: [0, -1, -1, 1],
        });
      });

      it('without tokens or without slots there are no rows', () => {
        expectOrder(byRank([], 4, twoRanks), {
          numTokensPerRank: [0, 0],
          rankOffsets: [0, 0, 0],
          tokenOfRow: [],
          rowOfSelection: [],
          numRows: 0,
        });
        const noSlots = { data: new Int32Array(0), shape: [5, 0] as const };
        expectOrder(device.createGroup(twoRanks).getRankPermutation(noSlots, 4), {
          rankOffsets: [0, 0, 0],
          tokenOfRow: [],
        });
      });
    });

    it('an option of another function is an error', () => {
      const wrong = [
        () => byExpert(ids, 4, { winner: 'first' } as never),
        () => byExpert(ids, 4, { mask: 'bytes' } as never),
        () => byExpert(ids, 4, { numRanks: 4 } as never),
        () => byExpert(ids, 4, { placement: 'linear' } as never),
        () => byRank(ids, 4, { numRanks: 2 }, { alignment: 1 } as never),
        () => byRank(ids, 4, { numRanks: 2 }, { firstExpert: 0 } as never),
        () => byRank(ids, 4, { numRanks: 2 }, { numLocalExperts: 4 } as never),
        () => byRank(ids, 4, { numRanks: 2 }, { mask: 'none' } as never),
      ];
      // A workspace takes its options from elsewhere
      if (device.isVariant) return;
      for (const call of wrong) expectError(call, { code: 'OPTION', message: /It is an option of/ });
    });

    it('an option out of range is an error', () => {
      const wrong: ExpertPermutationOptions[] = [
        { alignment: 0 },
        { alignment: 1.5 },
        { alignment: '4' as never },
        { alignment: 2 ** 31 },
        { firstExpert: -1 },
        { firstExpert: 5 },
        { firstExpert: 0.5 },
        { firstExpert: '1' as never },
        { numLocalExperts: -1 },
        { numLocalExperts: 5 },
        { firstExpert: 2, numLocalExperts: 3 },
        { numLocalExperts: Number.NaN },
      ];
      for (const options of wrong) expectError(() => byExpert(ids, 4, options), { code: 'OPTION' });
      for (const winner of ['both', null, 1]) {
        expectError(() => byRank(ids, 4, { numRanks: 2 }, { winner: winner as never }), { code: 'OPTION' });
      }
      expectError(() => byExpert(ids, 0), { code: 'NUM_EXPERTS' });
    });
  });
}
