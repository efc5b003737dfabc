/**
 * Checks every vector of `vectors.json` on one device, and the file itself.
 *
 * @module
 */
import { assert } from 'chai';
import { expectArrays, expectError } from '../support/expect.ts';
import type { TestDevice } from './devices.ts';
import { makeVectors, storageOfVector, type VectorFile } from './vector-cases.ts';
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
  });
}

/** Declares the tests of every vector on one device. */
export function vectors(device: TestDevice): void {
  describe('vectors', () => {
    for (const vector of committed.vectors) {
      it(vector.name, () => {
        const { numExperts, numRanks, numRanksPerNode, placement, invalidExperts, expected, expectedError } = vector;
        const group = { numRanks, numRanksPerNode, ...(placement && { placement }) };
        const run = () => device.getDispatchLayout(storageOfVector(vector), numExperts, group, { invalidExperts });
        if (expected !== undefined) {
          expectArrays(run(), {
            ...expected,
            isTokenInRank: Uint8Array.from(expected.isTokenInRank.join(''), Number),
          });
        } else {
          const { code, token, slot, value } = expectedError ?? assert.fail('the vector expects nothing');
          const error = expectError(run, token === undefined || slot === undefined ? { code } : { code, token, slot });
          if (value !== undefined) assert.strictEqual(String(error.value), String(value));
        }
      });
    }
  });
}
