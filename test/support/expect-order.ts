/**
 * What the tests expect of orders of rows.
 *
 * @module
 */
import { assert } from 'chai';
import type { ExpectedExpertOrder, ExpectedRankOrder, OrderAnswer } from '../conformance/permutation-oracle.ts';
import { expectError, expectNumbers } from './expect.ts';

/** The arrays of an order, and its number of rows. */
export type Order = Readonly<Record<string, unknown>> & { readonly numRows: number | null };

/** Checks that an order has exactly the expected numbers, in arrays of int32. */
export function expectOrder(actual: object, expected: Partial<ExpectedExpertOrder | ExpectedRankOrder>): void {
  assert.isNotEmpty(Object.keys(expected));
  for (const [name, numbers] of Object.entries(expected)) {
    const array = (actual as Order)[name];
    if (name === 'numRows') {
      assert.strictEqual(array, numbers, name);
    } else {
      assert.instanceOf(array, Int32Array, name);
      expectNumbers(name, array as Int32Array, numbers as readonly number[]);
    }
  }
}

/** Runs `action`, which must do what the oracle says: return that order or throw that error. */
export function expectOrderAnswer(
  action: () => object,
  expected: OrderAnswer<ExpectedExpertOrder | ExpectedRankOrder>,
): void {
  if ('order' in expected) {
    expectOrder(action(), expected.order);
    return;
  }
  const { code, offender } = expected.error;
  const error = expectError(
    action,
    offender === undefined ? { code } : { code, token: offender.token, slot: offender.slot },
  );
  if (offender !== undefined) assert.strictEqual(String(error.value), String(offender.value));
}
