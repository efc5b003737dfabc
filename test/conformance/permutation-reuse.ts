/**
 * Orders of rows on groups and arrays that are used again: `out` that lives longer than one call, the three functions in
 * turn on one group, errors in between, inputs that are larger than any window, and events.
 *
 * @module
 */
import { assert } from 'chai';
import type { ExpertPermutation, RankPermutation } from 'dispatch-layout';
import { expectAnswer, expectError } from '../support/expect.ts';
import { expectOrderAnswer } from '../support/expect-order.ts';
import { Random } from '../support/random.ts';
import { idArray, type TopkStorage } from '../support/topk-storage.ts';
import type { TestDevice } from './devices.ts';
import { answer, rowsOf } from './oracle.ts';
import { expertOrder, rankOrder } from './permutation-oracle.ts';

function randomIds(random: Random, numTokens: number, numTopk: number, numExperts: number): TopkStorage {
  const ids = Array.from({ length: numTokens * numTopk }, () => random.between(-1, numExperts - 1));
  return { data: idArray(random.pick(['int64', 'int32'] as const), ids), shape: [numTokens, numTopk] };
}

/** Tokens, slots, experts, and the alignment. */
const largeInputs = [
  [70_000, 8, 64, 1],
  [70_000, 8, 64, 128],
  [300_000, 2, 5000, 16],
  // The padding alone is larger than any window
  [300, 8, 300, 100_000],
  // A token has more slots than fit any window
  [2, 600_000, 8, 2],
] as const;

/** Declares the tests of the reuse of groups and arrays on one device. */
export function permutationReuse(device: TestDevice): void {
  describe('reuse of permutations', () => {
    it('layouts and both orders can be computed in turn, whatever the numbers of experts', () => {
      const random = new Random(1);
      for (const numRanks of [1, 4, 72, 300]) {
        const options = { numRanks, numRanksPerNode: numRanks };
        const group = device.createGroup(options);
        for (let call = 0; call < 60; call += 1) {
          const numExperts = numRanks * random.pick([1, 2, 3, 20]);
          const topkIdx = randomIds(random, random.pick([1, 7, 64, 500]), random.pick([1, 2, 8]), numExperts);
          const rows = rowsOf(topkIdx);
          const alignment = random.pick([1, 16]);
          const winner = random.pick(['first', 'last'] as const);
          const mask = random.pick(['bytes', 'bits'] as const);
          const turn = random.below(3);
          if (turn === 0) {
            expectAnswer(
              () => group.getDispatchLayout(topkIdx, numExperts, { mask }),
              answer({ ...options, rows, numExperts, mask }),
            );
          } else if (turn === 1) {
            expectOrderAnswer(
              () => group.getExpertPermutation(topkIdx, numExperts, { alignment }),
              expertOrder({ rows, numExperts, alignment }),
            );
          } else {
            expectOrderAnswer(
              () => group.getRankPermutation(topkIdx, numExperts, { winner }),
              rankOrder({ ...options, rows, numExperts, winner }),
            );
          }
        }
      }
    });

    it('an earlier result as out serves every call of its shape, also after an error', () => {
      const random = new Random(2);
      const [numTokens, numTopk, numExperts, alignment] = [90, 4, 24, 8];
      const options = { numRanks: 6, numRanksPerNode: 6 };
      const group = device.createGroup(options);
      let byExpert: ExpertPermutation | undefined;
      let byRank: RankPermutation | undefined;
      for (let call = 0; call < 12; call += 1) {
        const topkIdx = randomIds(random, numTokens, numTopk, numExperts);
        const rows = rowsOf(topkIdx);
        if (byExpert !== undefined && byRank !== undefined) {
          const wrong = { data: topkIdx.data.slice() as Int32Array, shape: topkIdx.shape };
          wrong.data[wrong.data.length - 1] = (topkIdx.data instanceof BigInt64Array ? 24n : 24) as never;
          const offender = { code: 'INVALID_EXPERT', token: numTokens - 1, slot: numTopk - 1 };
          const before = [byExpert.selectionOfRow.slice(), byRank.tokenOfRow.slice()];
          const outs = { byExpert, byRank };
          const inExpert = { alignment, out: outs.byExpert };
          expectError(() => group.getExpertPermutation(wrong, numExperts, inExpert), offender);
          expectError(() => group.getRankPermutation(wrong, numExperts, { out: outs.byRank }), offender);
          assert.deepStrictEqual([byExpert.selectionOfRow, byRank.tokenOfRow], before);
        }
        const nextByExpert: ExpertPermutation = group.getExpertPermutation(topkIdx, numExperts, {
          alignment,
          ...(byExpert && { out: byExpert }),
        });
        const nextByRank: RankPermutation = group.getRankPermutation(topkIdx, numExperts, byRank && { out: byRank });
        expectOrderAnswer(() => nextByExpert, expertOrder({ rows, numExperts, alignment }));
        expectOrderAnswer(() => nextByRank, rankOrder({ ...options, rows, numExperts }));
        if (byExpert !== undefined && !device.isVariant) {
          assert.strictEqual(nextByExpert, byExpert);
          assert.strictEqual(nextByRank, byRank);
        }
        byExpert = nextByExpert;
        byRank = nextByRank;
      }
    });

    it('out of a larger number of tokens serves smaller ones', () => {
      const random = new Random(3);
      const group = device.createGroup({ numRanks: 2 });
      const large = randomIds(random, 50, 3, 8);
      const byExpert = group.getExpertPermutation(large, 8, { alignment: 4 });
      const byRank = group.getRankPermutation(large, 8);
      for (const numTokens of [50, 7, 0, 1]) {
        const topkIdx = randomIds(random, numTokens, 3, 8);
        const rows = rowsOf(topkIdx);
        const small = group.getExpertPermutation(topkIdx, 8, { alignment: 4, out: byExpert });
        expectOrderAnswer(() => small, expertOrder({ rows, numExperts: 8, alignment: 4 }));
        assert.strictEqual(small.selectionOfRow.buffer, byExpert.selectionOfRow.buffer);
        const sent = group.getRankPermutation(topkIdx, 8, { out: byRank });
        expectOrderAnswer(() => sent, rankOrder({ rows, numExperts: 8, numRanks: 2 }));
      }
    });

    it('wrong arrays in out are named', () => {
      const group = device.createGroup({ numRanks: 2 });
      const topkIdx = { data: Int32Array.of(0, 1, 2, 3), shape: [2, 2] as const };
      const right = group.getExpertPermutation(topkIdx, 4);
      const { numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection } = right;
      const arrays = { numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection };
      for (const [name, array] of Object.entries({
        expertOffsets: new Int32Array(4),
        selectionOfRow: new Int32Array(3),
        rowOfSelection: new Uint32Array(4),
        numTokensPerExpert: null,
      })) {
        const out = { ...arrays, [name]: array } as never;
        expectError(() => group.getExpertPermutation(topkIdx, 4, { out }), {
          code: 'OUT',
          message: new RegExp(`out[.]${name}`),
        });
      }
      const shared = { ...arrays, rowOfSelection: selectionOfRow };
      expectError(() => group.getExpertPermutation(topkIdx, 4, { out: shared }), {
        code: 'OUT',
        message: /out.rowOfSelection shares memory with out.selectionOfRow/,
      });
      expectError(() => group.getRankPermutation(topkIdx, 4, { out: right as never }), {
        code: 'OUT',
        message: /out.numTokensPerRank/,
      });
    });

    // A workspace has room for all tokens, so that no input is large for it. The fake GPU takes minutes for these
    const isQuick = !device.isVariant && device.name !== 'cuda';
    for (const [numTokens, numTopk, numExperts, alignment] of isQuick ? largeInputs : []) {
      it(`large inputs: T=${numTokens} K=${numTopk} E=${numExperts}, alignment ${alignment}`, () => {
        const random = new Random(numTokens);
        const data = new Int32Array(numTokens * numTopk);
        for (let i = 0; i < data.length; i += 1) data[i] = random.between(-1, numExperts - 1);
        const topkIdx = { data, shape: [numTokens, numTopk] as const };
        const options = { numRanks: 4 };
        const group = device.createGroup(options);
        const rows = rowsOf(topkIdx);
        expectOrderAnswer(
          () => group.getExpertPermutation(topkIdx, numExperts, { alignment }),
          expertOrder({ rows, numExperts, alignment }),
        );
        const byRank = rankOrder({ ...options, rows, numExperts, winner: 'last' });
        expectOrderAnswer(() => group.getRankPermutation(topkIdx, numExperts, { winner: 'last' }), byRank);

        data[data.length - 1] = numExperts;
        const offender = { code: 'INVALID_EXPERT', token: numTokens - 1, slot: numTopk - 1, value: numExperts };
        expectError(() => group.getExpertPermutation(topkIdx, numExperts, { alignment }), offender);
        expectError(() => group.getRankPermutation(topkIdx, numExperts), offender);
        data[data.length - 1] = 0;
        rows[numTokens - 1][numTopk - 1] = 0n;
        expectOrderAnswer(
          () => group.getRankPermutation(topkIdx, numExperts),
          rankOrder({ ...options, rows, numExperts }),
        );
      });
    }

    it('events order what is computed, and asyncFinish records one', async () => {
      const group = device.createGroup({ numRanks: 2 });
      const topkIdx = { data: Int32Array.of(0, 3, 2, -1), shape: [2, 2] as const };
      const first = group.getDispatchLayout(topkIdx, 4, { asyncFinish: true });
      const order = group.getExpertPermutation(topkIdx, 4, { previousEvent: first.event, asyncFinish: true });
      const sent = group.getRankPermutation(topkIdx, 4, { previousEvent: order.event, asyncFinish: true });
      assert.isTrue(order.event.recorded);
      await sent.event.wait();
      await order.event.wait();
      const rows = rowsOf(topkIdx);
      expectOrderAnswer(() => order, expertOrder({ rows, numExperts: 4 }));
      expectOrderAnswer(() => sent, rankOrder({ rows, numExperts: 4, numRanks: 2 }));
    });
  });
}
