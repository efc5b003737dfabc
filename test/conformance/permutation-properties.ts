/**
 * Properties of the two orders of rows, checked by fast-check: for random requests of every kind, a device does what the
 * oracle says. What the contract says of every order is checked beside that, without the oracle.
 *
 * @module
 */
import { assert } from 'chai';
import type { ExpertPermutation, RankPermutation } from 'dispatch-layout';
import fc from 'fast-check';
import { expectOrderAnswer } from '../support/expect-order.ts';
import { isUntouched } from '../support/marked-arrays.ts';
import type { TestDevice } from './devices.ts';
import { expertOrder, rankOrder } from './permutation-oracle.ts';
import { type Case, caseArbitrary, requestOf, runs } from './random-requests.ts';

/** The options of an order by expert, as parts of the number of experts. */
interface ExpertCase {
  readonly first: number;
  readonly local: number;
  readonly alignment: number;
}

const expertArbitrary: fc.Arbitrary<ExpertCase> = fc.record({
  first: fc.constantFrom(0, 0, 0, 0.25, 0.5, 0.99, 1),
  local: fc.constantFrom(1, 1, 1, 0.5, 0.1, 0),
  alignment: fc.oneof(fc.constantFrom(1, 1, 2, 4, 16, 64, 128), fc.integer({ min: 1, max: 300 })),
});

const rankArbitrary = fc.constantFrom('first' as const, 'last' as const);

function expertOptions(numExperts: number, { first, local, alignment }: ExpertCase) {
  if (first === 0 && local === 1) return { alignment };
  const firstExpert = Math.floor(first * numExperts);
  return { firstExpert, numLocalExperts: Math.floor(local * (numExperts - firstExpert)), alignment };
}

/** Result arrays longer than needed, full of a value that no order has. */
const marker = -77;
const marked = (length: number) => new Int32Array(length).fill(marker);

/** Declares the properties on one device. */
export function permutationProperties(device: TestDevice): void {
  describe('properties of permutations', () => {
    it('orders by expert of requests of every kind', () => {
      const property = fc.property(caseArbitrary, expertArbitrary, fc.boolean(), (parameters, local, reused) => {
        const { topkIdx, numExperts, group, options: all, rows } = requestOf(parameters);
        const { mask: _, ...call } = all;
        const options = { ...call, ...expertOptions(numExperts, local) };
        const expected = expertOrder({ rows, numExperts, ...options });
        const n = topkIdx.shape[0] * topkIdx.shape[1];
        const { numLocalExperts = numExperts, alignment } = options;
        const out = {
          numTokensPerExpert: marked(numLocalExperts),
          expertOffsets: marked(numLocalExperts + 1),
          selectionOfRow: marked(n + Math.min(n, numLocalExperts) * (alignment - 1) + 5),
          rowOfSelection: marked(n + 3),
        };
        const run = () =>
          device.createGroup(group).getExpertPermutation(topkIdx, numExperts, { ...options, ...(reused && { out }) });
        expectOrderAnswer(run, expected);
        if (!reused) return;
        for (const [name, array] of Object.entries(out)) {
          const used = 'order' in expected ? expected.order[name as keyof typeof out].length : 0;
          assert.isTrue(isUntouched(array.subarray(used)), `${name} is untouched from ${used} on`);
        }
      });
      fc.assert(property, runs(300));
    });

    it('orders by rank of requests of every kind', () => {
      const property = fc.property(caseArbitrary, rankArbitrary, fc.boolean(), (parameters, winner, reused) => {
        const { topkIdx, numExperts, group, options: all, rows } = requestOf(parameters);
        const { mask: _, ...call } = all;
        const options = { ...call, winner };
        const expected = rankOrder({ ...group, rows, numExperts, ...options });
        const [numTokens, numTopk] = topkIdx.shape;
        const out = {
          numTokensPerRank: marked(group.numRanks),
          rankOffsets: marked(group.numRanks + 1),
          tokenOfRow: marked(numTokens * Math.min(numTopk, group.numRanks) + 5),
          rowOfSelection: marked(numTokens * numTopk + 3),
        };
        const run = () =>
          device.createGroup(group).getRankPermutation(topkIdx, numExperts, { ...options, ...(reused && { out }) });
        expectOrderAnswer(run, expected);
        if (!reused) return;
        for (const [name, array] of Object.entries(out)) {
          const used = 'order' in expected ? expected.order[name as keyof typeof out].length : 0;
          assert.isTrue(isUntouched(array.subarray(used)), `${name} is untouched from ${used} on`);
        }
      });
      fc.assert(property, runs(300));
    });

    const many = caseArbitrary.map(
      (parameters): Case => ({
        ...parameters,
        numTokens: parameters.numTokens * 23,
        numTopk: parameters.numTopk % 11,
        shares: { ...parameters.shares, hostile: 0 },
        invalidExperts: 'ignore',
      }),
    );

    it('kept selections and rows that are no padding are in bijection, in the order (expert, token, slot)', () => {
      const property = fc.property(many, expertArbitrary, (parameters, local) => {
        const { topkIdx, numExperts, group, options: all, rows } = requestOf(parameters);
        const { mask: _, ...call } = all;
        const options = { ...call, ...expertOptions(numExperts, local) };
        const order = device.createGroup(group).getExpertPermutation(topkIdx, numExperts, options);
        expectExpertOrderOf(order, rows, options);
      });
      fc.assert(property, runs(20));
    });

    it('a token has one row for each of its ranks, in the order (rank, token)', () => {
      const property = fc.property(many, rankArbitrary, (parameters, winner) => {
        const { topkIdx, numExperts, group, options: all } = requestOf(parameters);
        const { mask: _, ...call } = all;
        const testGroup = device.createGroup(group);
        const layout = testGroup.getDispatchLayout(topkIdx, numExperts, call);
        const order = testGroup.getRankPermutation(topkIdx, numExperts, { ...call, winner });
        assert.deepStrictEqual(order.numTokensPerRank, layout.numTokensPerRank);
        expectRankOrderOf(order, layout.isTokenInRank, group.numRanks);
      });
      fc.assert(property, runs(20));
    });
  });
}

/** An assertion of chai would take most of the time. */
function check(isTrue: boolean, what: string): void {
  if (!isTrue) assert.fail(what);
}

function expectExpertOrderOf(
  order: ExpertPermutation,
  rows: readonly (readonly bigint[])[],
  {
    firstExpert = 0,
    numLocalExperts,
    alignment,
    emptyId,
  }: {
    readonly firstExpert?: number;
    readonly numLocalExperts?: number;
    readonly alignment: number;
    readonly emptyId?: number | bigint | undefined;
  },
): void {
  const { numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection, numRows } = order;
  const ids = rows.flat();
  const empty = emptyId === undefined ? -1n : BigInt(emptyId);
  assert.strictEqual(numTokensPerExpert.length, numLocalExperts ?? numTokensPerExpert.length);
  assert.strictEqual(expertOffsets[0], 0);
  assert.strictEqual(numRows, expertOffsets[numTokensPerExpert.length]);
  let numKept = 0;
  for (const [expert, count] of numTokensPerExpert.entries()) {
    const begin = expertOffsets[expert];
    assert.strictEqual(expertOffsets[expert + 1] - begin, Math.ceil(count / alignment) * alignment);
    let last = -1;
    for (let row = begin; row < expertOffsets[expert + 1]; row += 1) {
      const selection = selectionOfRow[row];
      if (row >= begin + count) {
        check(selection === -1, `row ${row} is padding`);
        continue;
      }
      // Selections ascend, so that no two rows of an expert have the same
      check(selection > last, `the selection of row ${row} comes after that of the row before`);
      check(ids[selection] === BigInt(firstExpert + expert) && ids[selection] !== empty, `the expert of row ${row}`);
      check(rowOfSelection[selection] === row, `row ${row} is that of its selection`);
      last = selection;
      numKept += 1;
    }
  }
  for (let row = numRows; row < selectionOfRow.length; row += 1) check(selectionOfRow[row] === -1, `row ${row}`);
  const isKept = (id: bigint) =>
    id >= BigInt(firstExpert) && id < BigInt(firstExpert + numTokensPerExpert.length) && id !== empty;
  for (const [selection, id] of ids.entries()) {
    check(rowOfSelection[selection] >= 0 === isKept(id), `whether selection ${selection} is kept`);
  }
  assert.strictEqual(numKept, ids.filter(isKept).length);
}

function expectRankOrderOf(order: RankPermutation, isTokenInRank: Uint8Array, numRanks: number): void {
  const { numTokensPerRank, rankOffsets, tokenOfRow, rowOfSelection, numRows } = order;
  const expected: number[] = [];
  for (let rank = 0; rank < numRanks; rank += 1) {
    assert.strictEqual(rankOffsets[rank], expected.length);
    for (let token = 0; token < order.numTokens; token += 1) {
      if (isTokenInRank[token * numRanks + rank] === 1) expected.push(token);
    }
    assert.strictEqual(numTokensPerRank[rank], expected.length - rankOffsets[rank]);
  }
  assert.strictEqual(rankOffsets[numRanks], numRows);
  assert.deepStrictEqual([...tokenOfRow.subarray(0, numRows)], expected);
  assert.isTrue(tokenOfRow.subarray(numRows).every((token) => token === -1));
  // Each row is that of one selection, which is one of its token's
  const selections = [...rowOfSelection.entries()].filter(([, row]) => row >= 0);
  assert.strictEqual(new Set(selections.map(([, row]) => row)).size, numRows);
  assert.strictEqual(selections.length, numRows);
  for (const [selection, row] of selections) {
    check(Math.floor(selection / order.numTopk) === tokenOfRow[row], `the token of row ${row}`);
  }
}
