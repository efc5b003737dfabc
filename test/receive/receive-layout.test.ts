/** `getReceiveLayout`: what a rank receives, against an oracle, and what is refused. */
import { assert } from 'chai';
import {
  DispatchLayoutError,
  type ErrorCode,
  EventOverlap,
  ExpertGroup,
  getDispatchLayout,
  getExpertPermutation,
  type ReceiveOptions,
  type Sent,
} from 'dispatch-layout';
import fc from 'fast-check';
import { detached } from '../support/buffers.ts';
import { expectError } from '../support/expect.ts';
import { expectReceived } from './expect-received.ts';
import { dispatchOf } from './oracle.ts';
import { groupArbitrary } from './random-groups.ts';

const rowsOfRanks = [
  [
    [0, 3],
    [1, 0],
  ],
  [[2, 0]],
];

/** The counts of all ranks in two arrays, as an exchange gathers them. */
function gathered(group: ExpertGroup, numExperts: number, rows = rowsOfRanks) {
  const layouts = rows.map((topkIdx) => group.getDispatchLayout(topkIdx, numExperts));
  return {
    numTokensPerRank: layouts.flatMap((layout) => [...layout.numTokensPerRank]),
    numTokensPerExpert: layouts.flatMap((layout) => [...layout.numTokensPerExpert]),
  };
}

describe('getReceiveLayout', () => {
  it('says what a rank receives from whom, and where the rows of its experts lie', () => {
    const group = new ExpertGroup({ numRanks: 2 });
    const sent = rowsOfRanks.map((topkIdx) => group.getDispatchLayout(topkIdx, 4));
    const received = group.getReceiveLayout(sent, 4, 0, { alignment: 2 });
    expectReceived(received, {
      rank: 0,
      numRanks: 2,
      numExperts: 4,
      numLocalExperts: 2,
      alignment: 2,
      numTokens: 3,
      numTokensPerSourceRank: [2, 1],
      sourceRankOffsets: [0, 2, 3],
      numTokensPerExpert: [3, 1],
      expertOffsets: [0, 4, 6],
      numRows: 6,
      numTokensPerSourceRankAndExpert: [2, 1, 1, 0],
    });
  });

  it('is what the oracle says, from layouts and from gathered counts in any arrays', () => {
    fc.assert(
      fc.property(groupArbitrary, (question) => {
        const { rowsOfRanks: rows, numTopk, numExperts, numRanksPerNode, placement, alignment } = question;
        const group = new ExpertGroup({ numRanks: rows.length, numRanksPerNode, placement });
        const layouts = rows.map((topkIdx) =>
          group.getDispatchLayout(
            { data: Int32Array.from(topkIdx.flat()), shape: [topkIdx.length, numTopk] },
            numExperts,
          ),
        );
        const flat = {
          numTokensPerRank: layouts.flatMap((layout) => [...layout.numTokensPerRank]),
          numTokensPerExpert: new Uint32Array(layouts.flatMap((layout) => [...layout.numTokensPerExpert])),
        };
        for (const [rank, expected] of dispatchOf(question).received.entries()) {
          const { sourceRankOfRow, sourceTokenOfRow, topkIdx, ...counts } = expected;
          assert.lengthOf(sourceRankOfRow, sourceTokenOfRow.length);
          assert.lengthOf(topkIdx, counts.numTokens);
          for (const sent of [layouts, flat]) {
            expectReceived(group.getReceiveLayout(sent, numExperts, rank, { alignment }), counts);
          }
        }
      }),
      { numRuns: 200 },
    );
  });

  it('has the offsets of the order by expert of what is received', () => {
    const group = new ExpertGroup({ numRanks: 2 });
    const received = group.getReceiveLayout(gathered(group, 4), 4, 1, { alignment: 4 });
    // Rank 1 has experts 2 and 3, and receives token 0 of each rank
    const order = getExpertPermutation(
      [
        [0, 3],
        [2, 0],
      ],
      4,
      { firstExpert: 2, numLocalExperts: 2, alignment: 4 },
    );
    assert.deepStrictEqual(received.expertOffsets, order.expertOffsets);
    assert.deepStrictEqual(received.numTokensPerExpert, order.numTokensPerExpert);
    assert.strictEqual(received.numRows, order.numRows);
  });

  it('lets the last experts be on no rank, if the layouts were made so', () => {
    const group = new ExpertGroup({ numRanks: 2 });
    const sent = [[[0, 4]], [[4, 2]]].map((ids) => group.getDispatchLayout(ids, 5, { invalidExperts: 'ignore' }));
    expectError(() => group.getReceiveLayout(sent, 5, 0), { code: 'UNEVEN_EXPERTS' });
    const received = group.getReceiveLayout(sent, 5, 1, { invalidExperts: 'ignore' });
    expectReceived(received, { numLocalExperts: 2, numTokensPerSourceRank: [0, 1], numTokensPerExpert: [1, 0] });
  });

  it('gives a rank without experts nothing', () => {
    const group = new ExpertGroup({ numRanks: 3, placement: [0, 0, 2] });
    const sent = Array.from({ length: 3 }, () => group.getDispatchLayout([[0, 2]], 3));
    const received = group.getReceiveLayout(sent, 3, 1, { alignment: 8 });
    expectReceived(received, {
      numLocalExperts: 0,
      numTokens: 0,
      numTokensPerSourceRank: [0, 0, 0],
      numTokensPerExpert: [],
      expertOffsets: [0],
      numRows: 0,
      numTokensPerSourceRankAndExpert: [],
    });
  });

  describe('refuses', () => {
    const group = new ExpertGroup({ numRanks: 2 });
    const good = gathered(group, 4);
    const layouts = rowsOfRanks.map((topkIdx) => group.getDispatchLayout(topkIdx, 4));
    const receive = (sent: unknown, options: ReceiveOptions = {}, rank: unknown = 0) =>
      group.getReceiveLayout(sent as Sent, 4, rank as number, options);
    const cases: [string, () => unknown, ErrorCode, RegExp][] = [
      ['nothing', () => receive(undefined), 'SENT', /sent\.numTokensPerRank is undefined/],
      ['null', () => receive(null), 'SENT', /sent\.numTokensPerRank/],
      ['too few layouts', () => receive(layouts.slice(1)), 'SENT', /sent has 1 layouts, and the group has 2 ranks/],
      [
        'a hole among the layouts',
        () => receive([layouts[0], undefined]),
        'SENT',
        /sent\[1\]\.numTokensPerRank is undef/,
      ],
      [
        'a layout for other ranks',
        () => receive([layouts[0], getDispatchLayout([[0]], 4, { numRanks: 4 })]),
        'SENT',
        /sent\[1\]\.numTokensPerRank has 4 elements\. It must have 2/,
      ],
      [
        'a layout of other experts',
        () => receive([layouts[0], group.getDispatchLayout([[0]], 6)]),
        'SENT',
        /sent\[1\]\.numTokensPerExpert has 6 elements\. It must have 4/,
      ],
      [
        'gathered counts of another size',
        () => receive({ ...good, numTokensPerRank: [1, 2, 3] }),
        'SENT',
        /sent\.numTokensPerRank has 3 elements\. It must have 4/,
      ],
      [
        'a number that is no count',
        () =>
          receive({
            ...good,
            numTokensPerExpert: good.numTokensPerExpert.map((count, i) => (i === 5 ? -count - 1 : count)),
          }),
        'SENT',
        /sent\.numTokensPerExpert\[5\] is -1/,
      ],
      [
        'a fraction',
        () => receive({ ...good, numTokensPerRank: [0.5, 1, 1, 1] }),
        'SENT',
        /numTokensPerRank\[0\] is 0\.5/,
      ],
      ['a count over int32', () => receive({ ...good, numTokensPerRank: [2 ** 31, 1, 1, 1] }), 'SENT', /2147483648/],
      ['bigints', () => receive({ ...good, numTokensPerRank: new BigInt64Array(4) }), 'SENT', /is 0n/],
      [
        'more tokens than selections',
        () => receive({ ...good, numTokensPerRank: [9, 1, 1, 1] }),
        'SENT',
        /rank 0 sends 9 tokens to rank 0, and 3 selections/,
      ],
      [
        'selections without tokens',
        () => receive({ ...good, numTokensPerRank: [2, 1, 0, 1] }),
        'SENT',
        /rank 1 sends 0 tokens to rank 0, and 1 selections/,
      ],
      [
        'a detached array',
        () => receive({ ...good, numTokensPerRank: detached(new Int32Array(4)) }),
        'DETACHED_BUFFER',
        /sent\.numTokensPerRank/,
      ],
      ['a rank that is not there', () => receive(good, {}, 2), 'OPTION', /rank is 2\. It must be a rank in \[0, 2\)/],
      ['a negative rank', () => receive(good, {}, -1), 'OPTION', /rank is -1/],
      ['no rank', () => receive(good, {}, null), 'OPTION', /rank is null/],
      ['an alignment of 0', () => receive(good, { alignment: 0 }), 'OPTION', /alignment is 0/],
      [
        'an option of another function',
        () => receive(good, { mask: 'none' } as ReceiveOptions),
        'OPTION',
        /mask.*getDispatchLayout/,
      ],
    ];
    for (const [title, run, code, message] of cases) {
      it(title, () => {
        const error = expectError(run, { code, message });
        assert.instanceOf(error, DispatchLayoutError);
      });
    }

    it('a layout that is not finished', () => {
      const unfinished = { done: false, wait: () => Promise.resolve(), currentStreamWait() {} };
      const layout = { ...layouts[0], event: new EventOverlap(unfinished) };
      expectError(() => receive([layout, layouts[1]]), { code: 'SENT', message: /sent\[0\]\.event has not finished/ });
    });

    it('tables that do not fit in memory, but what is no layout before that', () => {
      const crowded = new ExpertGroup({ numRanks: 2 ** 20, placement: new Int32Array(2 ** 20) });
      const counts = new Int32Array(2 ** 20);
      const sent = new Array(2 ** 20).fill({ numTokensPerRank: counts, numTokensPerExpert: counts });
      const receiveAll = (all: unknown) => crowded.getReceiveLayout(all as Sent, 2 ** 20, 0);
      expectError(() => receiveAll(sent), { code: 'OUT_OF_MEMORY', message: /1048576 source ranks x 1048576 experts/ });
      expectError(() => receiveAll({}), { code: 'SENT' });
    });

    it('more tokens or rows than int32 can number', () => {
      const many = { numTokensPerRank: [2 ** 31 - 1, 0, 1, 0], numTokensPerExpert: [2 ** 31 - 1, 0, 0, 0, 1, 0, 0, 0] };
      const tokens = expectError(() => receive(many), {
        code: 'TOO_LARGE',
        message: /rank 0 receives 2147483648 tokens/,
      });
      assert.strictEqual(tokens.value, 2 ** 31);
      const rows = { numTokensPerRank: [2, 0, 0, 0], numTokensPerExpert: [1, 1, 0, 0, 0, 0, 0, 0] };
      expectError(() => receive(rows, { alignment: 2 ** 30 }), {
        code: 'TOO_LARGE',
        message: /2147483648 rows.*lower the alignment/,
      });
      assert.strictEqual(receive(rows, { alignment: 2 ** 29 }).numRows, 2 ** 30);
    });
  });
});
