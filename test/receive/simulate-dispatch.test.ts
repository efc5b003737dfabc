/** `simulateDispatch`: a whole group, against an oracle, by conservation, and what is refused. */
import { assert } from 'chai';
import {
  ExpertGroup,
  getExpertPermutation,
  type SimulatedDispatch,
  type SimulationOptions,
  simulateDispatch,
  type TopkIdxInput,
} from 'dispatch-layout';
import fc from 'fast-check';
import { detached } from '../support/buffers.ts';
import { describeOnEachDevice } from '../support/each-device.ts';
import { expectError } from '../support/expect.ts';
import { Random } from '../support/random.ts';
import { idTypeNames, storageOf } from '../support/topk-storage.ts';
import { expectReceived } from './expect-received.ts';
import { dispatchOf, type GroupQuestion } from './oracle.ts';
import { groupArbitrary } from './random-groups.ts';

/** The ids of each rank, each in another form. Types without -1 are left out where there are empty slots. */
function inputsOf({ rowsOfRanks, numTopk }: GroupQuestion): TopkIdxInput[] {
  return rowsOfRanks.map((rows, rank): TopkIdxInput => {
    const isNested = rank % 3 === 2 && (rows.length > 0 || rank % 2 === 0);
    const types = idTypeNames.filter((type) => !type.startsWith('u') || rows.flat().every((id) => id >= 0));
    return isNested ? rows : storageOf(types[rank % types.length], rows, numTopk);
  });
}

const optionsOf = ({ numRanksPerNode, placement, alignment }: GroupQuestion) => ({
  numRanksPerNode,
  placement,
  alignment,
});

const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, number) => total + number, 0);

describeOnEachDevice('simulateDispatch', ({ name }) => {
  const device = name.split(' ')[0] as SimulationOptions['device'];

  it('is what the oracle says, for every form of ids', () => {
    fc.assert(
      fc.property(groupArbitrary, (question) => {
        const { rowsOfRanks, numTopk, numExperts } = question;
        const dispatch = simulateDispatch(inputsOf(question), numExperts, { ...optionsOf(question), device });
        const expected = dispatchOf(question);
        expectReceived(dispatch, {
          numTokensBetweenRanks: expected.numTokensBetweenRanks,
          numTokensBetweenNodes: expected.numTokensBetweenNodes,
        });
        assert.lengthOf(dispatch.ranks, rowsOfRanks.length);
        const hasSlots = rowsOfRanks.some((rows) => rows.length > 0);
        for (const [rank, { layout, rankPermutation, received }] of dispatch.ranks.entries()) {
          assert.deepStrictEqual([layout.device, rankPermutation.device], [device, device]);
          const { topkIdx, ...arrays } = expected.received[rank];
          expectReceived(received, { rank, ...arrays });
          assert.deepStrictEqual(received.topkIdx.data, Int32Array.from(topkIdx.flat()));
          assert.deepStrictEqual(received.topkIdx.shape, [
            topkIdx.length,
            hasSlots ? numTopk : received.topkIdx.shape[1],
          ]);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('loses no token and no selection', () => {
    fc.assert(
      fc.property(groupArbitrary, (question) => {
        const { rowsOfRanks, numTopk, numExperts } = question;
        const group = new ExpertGroup({ numRanks: rowsOfRanks.length, ...optionsOfGroup(question), device });
        const dispatch = simulateDispatch(inputsOf(question), numExperts, { ...optionsOf(question), device });
        const numRanks = rowsOfRanks.length;
        const ranks = [...dispatch.ranks];
        const selections = new Set<string>();
        for (const [rank, { layout, rankPermutation, received }] of ranks.entries()) {
          const ids = { data: Int32Array.from(rowsOfRanks[rank].flat()), shape: [rowsOfRanks[rank].length, numTopk] };
          assert.deepStrictEqual(layout.numTokensPerRank, group.getDispatchLayout(ids, numExperts).numTokensPerRank);
          assert.deepStrictEqual(
            rankPermutation.tokenOfRow.subarray(0, rankPermutation.numRows),
            group.getRankPermutation(ids, numExperts).tokenOfRow.subarray(0, rankPermutation.numRows),
          );
          // What others send to this rank is what it receives
          const sentTo = ranks.map((source) => source.layout.numTokensPerRank[rank]);
          assert.deepStrictEqual(Array.from(received.numTokensPerSourceRank), sentTo);
          const order = getExpertPermutation(received.topkIdx, Math.max(1, received.numLocalExperts), {
            alignment: received.alignment,
          });
          if (received.numLocalExperts > 0) {
            assert.deepStrictEqual(order.expertOffsets, received.expertOffsets);
            assert.deepStrictEqual(order.numTokensPerExpert, received.numTokensPerExpert);
          }
          for (const selection of order.selectionOfRow) {
            if (selection === -1) continue;
            const row = Math.floor(selection / order.numTopk);
            const where = [received.sourceRankOfRow[row], received.sourceTokenOfRow[row], selection % order.numTopk];
            assert.isFalse(selections.has(where.join()), `selection ${where} has two rows`);
            selections.add(where.join());
          }
        }
        const placed = (id: number): boolean =>
          id >= 0 && !(Array.isArray(question.placement) && question.placement[id] < 0);
        assert.strictEqual(selections.size, rowsOfRanks.flat(2).filter(placed).length);
        assert.strictEqual(sum(dispatch.numTokensBetweenRanks), sum(ranks.map(({ received }) => received.numTokens)));
        const numNodes = Math.max(1, numRanks / question.numRanksPerNode);
        for (let node = 0; node < numNodes; node++) {
          const own = ranks.filter((_, rank) => numNodes === 1 || Math.floor(rank / question.numRanksPerNode) === node);
          const row = dispatch.numTokensBetweenNodes.subarray(node * numNodes, (node + 1) * numNodes);
          const perNode = own.map(({ layout }) => layout.numTokensPerRdmaRank);
          if (numNodes > 1) {
            const sums = Array.from(row, (_, to) => sum(perNode.map((counts) => (counts as Int32Array)[to])));
            assert.deepStrictEqual(Array.from(row), sums);
          }
        }
      }),
      { numRuns: 100 },
    );
  });
});

/** The options of a question that a group has. */
function optionsOfGroup({ numRanksPerNode, placement }: GroupQuestion) {
  return { numRanksPerNode, placement };
}

describe('a simulated dispatch', () => {
  const rows = [[[0, 3]], [[2, 0]]];
  const simulate = (ids: unknown, options: object = {}, numExperts = 4): SimulatedDispatch =>
    simulateDispatch(ids as TopkIdxInput[], numExperts, options);

  it('computes a rank whenever it is read, from copies of the ids', () => {
    const data = Int32Array.of(0, 3);
    const { ranks } = simulate([{ data, shape: [1, 2] }, [[2, 0]]]);
    data.fill(-5);
    assert.notStrictEqual(ranks[0], ranks[0]);
    assert.deepStrictEqual(ranks[0], ranks[0]);
    assert.deepStrictEqual(Array.from(ranks[1].received.topkIdx.data), [-1, 1, 0, -1]);
    assert.isFrozen(ranks);
    assert.strictEqual(ranks[2], undefined);
    assert.deepStrictEqual(
      ranks.map(({ received }) => received.numTokens),
      [2, 2],
    );
  });

  it('takes views with strides and an offset, of ids of 32 and of 64 bits', () => {
    // Token 0 is in elements 1 and 4, token 1 in elements 2 and 5. The others are no experts
    const words = [99, 0, 2, 99, 3, 1];
    for (const data of [Int32Array.from(words), BigInt64Array.from(words, BigInt)]) {
      const view = { data, shape: [2, 2], strides: [1, 3], offset: 1 };
      const { received } = simulate([view, []]).ranks[0];
      assert.deepStrictEqual(Array.from(received.topkIdx.data), [0, -1, -1, 1]);
    }
  });

  it('takes an expert for an empty id', () => {
    for (const data of [Int32Array.of(0, 3), BigInt64Array.of(0n, 3n)]) {
      const { numTokensBetweenRanks } = simulate([{ data, shape: [1, 2] }, []], { emptyId: 3 });
      assert.deepStrictEqual(Array.from(numTokensBetweenRanks), [1, 0, 0, 0]);
    }
  });

  it('is not changed by what is written to its arrays', () => {
    const dispatch = simulate(rows);
    dispatch.numTokensBetweenRanks.fill(9);
    dispatch.ranks[0].received.topkIdx.data.fill(9);
    assert.deepStrictEqual(Array.from(dispatch.ranks[0].received.numTokensPerSourceRank), [1, 1]);
  });

  it('takes an empty id, the slot that wins, and ids that are ignored', () => {
    const dispatch = simulate([[[0, 1, 255]], [[255, 9, -7]]], {
      emptyId: 255,
      invalidExperts: 'ignore',
      winner: 'last',
      numRanks: 2,
    });
    assert.deepStrictEqual(Array.from(dispatch.numTokensBetweenRanks), [1, 0, 0, 0]);
    const { rankPermutation, received } = dispatch.ranks[0];
    assert.deepStrictEqual(Array.from(rankPermutation.rowOfSelection), [-1, 0, -1]);
    assert.deepStrictEqual(Array.from(received.topkIdx.data), [0, 1, -1]);
  });

  it('holds 320 ranks of 4,096 tokens without holding what each receives', () => {
    const random = new Random(1);
    const data = Int16Array.from({ length: 4096 * 8 }, () => random.below(2560));
    const ids = { data, shape: [4096, 8] };
    const before = process.memoryUsage().arrayBuffers;
    const { ranks, numTokensBetweenRanks } = simulate(new Array(320).fill(ids), {}, 2560);
    const held = process.memoryUsage().arrayBuffers - before;
    assert.isBelow(
      held,
      200e6,
      'the copies of the ids and the orders, which take 84 MB, and what is not collected yet',
    );
    const { received } = ranks[319];
    assert.strictEqual(received.numTokens, 320 * numTokensBetweenRanks[319]);
    assert.strictEqual(received.sourceRankOfRow.at(-1), 319);
  });

  it('says of which rank an id or a shape is wrong', () => {
    const invalid = expectError(() => simulate([rows[0], [[0, 4]]]), {
      code: 'INVALID_EXPERT',
      token: 0,
      slot: 1,
      message: /^rank 1: topkIdx\[0\]\[1\] is 4, not an expert/,
    });
    assert.match(String(invalid.stack), /rank 1/);
    expectError(() => simulate([{ data: BigInt64Array.of(2n ** 32n), shape: [1, 1] }]), {
      code: 'INVALID_EXPERT',
      value: 2n ** 32n,
      message: /^rank 0: /,
    });
    expectError(() => simulate([rows[0], 5]), { code: 'TOPK_TYPE', message: /^rank 1: topkIdx is 5/ });
    expectError(() => simulate([rows[0], undefined]), { code: 'TOPK_TYPE', message: /^rank 1: / });
    expectError(() => simulate([{ data: detached(new Int32Array(2)), shape: [1, 2] }]), {
      code: 'DETACHED_BUFFER',
      message: /^rank 0: /,
    });
    expectError(() => simulate([[], rows[0], [[1, 2, 3]]], {}, 6), {
      code: 'TOPK_SHAPE',
      value: 3,
      message: /the topkIdx of rank 2 is \[1, 3\], and that of rank 1 has 2 slots/,
    });
    const none = { data: new Int32Array(0), shape: [0, 3] };
    expectError(() => simulate([rows[0], none]), { code: 'TOPK_SHAPE', message: /rank 1 is \[0, 3\]/ });
  });

  it('refuses what is no group', () => {
    expectError(() => simulate([]), { code: 'NUM_RANKS' });
    expectError(() => simulate({ data: new Int32Array(2), shape: [1, 2] }), {
      code: 'OPTION',
      message: /topkIdxOfRanks/,
    });
    expectError(() => simulate(rows, { numRanks: 3 }), { code: 'OPTION', message: /numRanks is 3.*length.*2/ });
    expectError(() => simulate(rows, { mask: 'bits' }), { code: 'OPTION', message: /mask/ });
    expectError(() => simulate(rows, { alignment: 0 }), { code: 'OPTION', message: /alignment/ });
    expectError(() => simulate(rows, { winner: 'none' }), { code: 'OPTION', message: /winner/ });
    expectError(() => simulate(rows, { invalidExperts: 'never' }), { code: 'OPTION', message: /invalidExperts/ });
    expectError(() => simulate(rows, {}, 5), { code: 'UNEVEN_EXPERTS' });
    expectError(() => simulate(rows, {}, 0), { code: 'NUM_EXPERTS' });
    expectError(() => simulate(rows, { placement: [0] }), { code: 'PLACEMENT' });
  });
});
