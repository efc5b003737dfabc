/**
 * Checks every vector of `vectors.json` on one device, and the file itself.
 *
 * @module
 */
import { assert } from 'chai';
import type { LayoutArrays, MaskForm, TopkIdxInput } from 'dispatch-layout';
import { expectArrays, expectError } from '../support/expect.ts';
import { expectOrder } from '../support/expect-order.ts';
import type { TopkStorage } from '../support/topk-storage.ts';
import type { TestDevice } from './devices.ts';
import { makeVectors, maskOf, storageOfVector, type Vector, type VectorFile } from './vector-cases.ts';
import file from './vectors.json' with { type: 'json' };

const committed = file as unknown as VectorFile;

/** Declares the test that the committed file is what its script makes. */
export function vectorsFile(): void {
  it('vectors.json is what make-vectors.ts makes', () => {
    const made = makeVectors();
    assert.strictEqual(committed.format, made.format);
    assert.strictEqual(committed.vectors.length, made.vectors.length);
    for (const [index, vector] of made.vectors.entries()) {
      assert.deepStrictEqual(committed.vectors[index], JSON.parse(JSON.stringify(vector)), vector.name);
    }
    assert.deepStrictEqual(committed.orders, JSON.parse(JSON.stringify(made.orders)));
  });
}

/** Declares the tests of every vector on one device. */
export function vectors(device: TestDevice): void {
  describe('vectors', () => {
    for (const vector of committed.vectors) {
      it(vector.name, () => {
        const { numExperts, numRanks, numRanksPerNode, placementName, leadingAxes, invalidExperts } = vector;
        const storage = storageOfVector(vector);
        const emptyId = typeof vector.emptyId === 'string' ? BigInt(vector.emptyId) : vector.emptyId;
        const check = (topkIdx: TopkIdxInput, placement: Vector['placement'] | Vector['placementName']) =>
          checkAnswer(vector, () => {
            const group = { numRanks, numRanksPerNode, ...(placement && { placement }) };
            return device.getDispatchLayout(topkIdx, numExperts, group, { invalidExperts, emptyId, mask: vector.mask });
          });
        check(storage, vector.placement);
        if (placementName !== undefined) check(storage, placementName);
        if (leadingAxes !== undefined) check(withAxes(storage, leadingAxes), vector.placement);
      });
    }
  });
}

/** Declares the tests of the orders of rows of the vectors on one device. */
export function orderVectors(device: TestDevice): void {
  describe('vectors of orders', () => {
    for (const order of committed.orders) {
      const vector = committed.vectors.find(({ name }) => name === order.vector) as Vector;
      const { name, numExperts, numRanks, placement, invalidExperts } = vector;
      const emptyId = typeof vector.emptyId === 'string' ? BigInt(vector.emptyId) : vector.emptyId;
      it(`${name}, by ${order.function === 'getRankPermutation' ? 'rank' : 'expert'}`, () => {
        const storage = storageOfVector(vector);
        const run = () => {
          if (order.function === 'getRankPermutation') {
            const group = device.createGroup({ numRanks, numRanksPerNode: numRanks, ...(placement && { placement }) });
            return group.getRankPermutation(storage, numExperts, { invalidExperts, emptyId, winner: order.winner });
          }
          const { firstExpert, numLocalExperts, alignment } = order;
          const options = { invalidExperts, emptyId, firstExpert, numLocalExperts, alignment };
          return device.createGroup({ numRanks: 1 }).getExpertPermutation(storage, numExperts, options);
        };
        if (order.expected === undefined) expectErrorOf(order.expectedError, run);
        else expectOrder(run(), order.expected);
      });
    }
  });
}

/** The same ids with more axes in place of the tokens. Tokens that follow one another are equally far apart. */
function withAxes({ shape, strides, ...rest }: TopkStorage, axes: readonly number[]): TopkIdxInput {
  const [tokenStride, slotStride] = strides ?? [shape[1], 1];
  const stridesOfAxes = axes.map((_, axis) => axes.slice(axis + 1).reduce((a, b) => a * b, tokenStride));
  return { ...rest, shape: [...axes, shape[1]], ...(strides && { strides: [...stridesOfAxes, slotStride] }) };
}

function checkAnswer({ expected, expectedError }: Vector, run: () => LayoutArrays<MaskForm>): void {
  if (expected !== undefined) {
    expectArrays(run(), { ...expected, isTokenInRank: maskOf(expected) });
    return;
  }
  expectErrorOf(expectedError, run);
}

function expectErrorOf(expectedError: Vector['expectedError'], run: () => unknown): void {
  const { code, token, slot, value } = expectedError ?? assert.fail('the vector expects nothing');
  const error = expectError(run, token === undefined || slot === undefined ? { code } : { code, token, slot });
  if (value !== undefined) assert.strictEqual(String(error.value), String(value));
}
