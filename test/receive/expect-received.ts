/**
 * What the tests expect of what a rank receives.
 *
 * @module
 */
import { assert } from 'chai';
import { expectNumbers } from '../support/expect.ts';

/** Checks that a result has exactly the expected numbers, in arrays of int32. */
export function expectReceived(actual: object, expected: Readonly<Record<string, unknown>>): void {
  for (const [name, numbers] of Object.entries(expected)) {
    const value: unknown = (actual as Readonly<Record<string, unknown>>)[name];
    if (typeof numbers === 'number') {
      assert.strictEqual(value, numbers, name);
    } else {
      assert.instanceOf(value, Int32Array, name);
      expectNumbers(name, value as Int32Array, numbers as readonly number[]);
    }
  }
}
