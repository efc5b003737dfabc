/**
 * What the tests expect of layouts and errors. Arrays are compared in loops, since masks have millions of elements.
 *
 * @module
 */
import { assert } from 'chai';
import { DispatchLayoutError, InvalidExpertError, type LayoutArrays, type MaskForm } from 'dispatch-layout';
import { type Answer, type OutputName, outputNames, outputs } from '../conformance/oracle.ts';

/** Checks that two arrays have the same numbers. */
export function expectNumbers(name: string, actual: ArrayLike<number>, expected: ArrayLike<number>): void {
  if (actual.length !== expected.length)
    assert.fail(`${name} has length ${actual.length}, expected ${expected.length}`);
  for (let index = 0; index < expected.length; index += 1) {
    if (actual[index] !== expected[index]) {
      assert.fail(`${name}[${index}] is ${actual[index]}, expected ${expected[index]} (length ${expected.length})`);
    }
  }
}

/** The outputs that a case expects. The oracle gives all of them; a case made by hand has those that were worked out. */
export type ExpectedArrays = { readonly [Name in OutputName]?: ArrayLike<number> | null };

/** Checks that the outputs are exactly the expected numbers, in arrays of exactly the documented types. */
export function expectArrays(actual: LayoutArrays<MaskForm>, expected: ExpectedArrays): void {
  assert.isNotEmpty(Object.keys(expected));
  for (const name of outputNames) {
    const numbers = expected[name];
    if (numbers === undefined) continue;
    if (numbers === null) {
      assert.isNull(actual[name], `${name} where there is none`);
    } else {
      assert.instanceOf(actual[name], outputs[name].type as Int32ArrayConstructor, name);
      expectNumbers(name, actual[name] ?? [], numbers);
    }
  }
}

/** Checks that a call with `out` has its results in the memory of `out`. */
export function expectSameMemory(layout: LayoutArrays<MaskForm>, out: LayoutArrays<MaskForm>): void {
  for (const name of outputNames) {
    const [array, given] = [layout[name], out[name]];
    if (name !== 'isTokenInRank') {
      assert.strictEqual(array, given, name);
      continue;
    }
    // If the mask of `out` is longer, the result is its first part.
    assert.strictEqual(array?.buffer, given?.buffer, name);
    assert.strictEqual(array?.byteOffset, given?.byteOffset, name);
  }
}

/** What an error must say. A test gives only what it checks. */
export interface ErrorExpectation {
  readonly code: string;
  readonly value?: unknown;
  readonly token?: number;
  readonly slot?: number;
  /** What the message must contain. */
  readonly message?: RegExp;
}

/** Checks an error of the library: its class, code, position, value, and that it has a message and a remedy. */
export function expectErrorIs(error: unknown, expected: ErrorExpectation): DispatchLayoutError {
  if (!(error instanceof DispatchLayoutError)) {
    const text = error instanceof Error ? (error.stack ?? String(error)) : String(error);
    assert.fail(`expected a DispatchLayoutError ${expected.code}, got ${text}`);
  }
  assert.strictEqual(error.code, expected.code, error.message);
  assert.instanceOf(error, Error);
  assert.match(error.remedy, /^\S.*\.$/s, 'the remedy is a sentence');
  assert.include(error.message, error.remedy);
  assert.notInclude(error.message, '[object ');
  if ('value' in expected) assert.deepStrictEqual(error.value, expected.value);
  if (expected.message !== undefined) assert.match(error.message, expected.message);
  if (expected.code === 'INVALID_EXPERT') {
    if (!(error instanceof InvalidExpertError)) assert.fail('INVALID_EXPERT is an InvalidExpertError');
    assert.strictEqual(error.name, 'InvalidExpertError');
    if ('token' in expected) {
      assert.strictEqual(error.token, expected.token, `token (${error.message})`);
      assert.strictEqual(error.slot, expected.slot, `slot (${error.message})`);
    }
    assert.include(error.message, `topkIdx[${error.token}][${error.slot}] is ${error.value}`);
  }
  return error;
}

/** Runs `action`, which must throw the expected error of the library. */
export function expectError(action: () => unknown, expected: ErrorExpectation): DispatchLayoutError {
  let result: unknown;
  try {
    result = action();
  } catch (error) {
    return expectErrorIs(error, expected);
  }
  assert.fail(`expected the error ${expected.code}, but the call returned ${typeof result}`);
}

/** Waits for `promise`, which must reject with the expected error of the library. */
export async function expectRejection(promise: Promise<unknown>, expected: ErrorExpectation): Promise<void> {
  let error: unknown;
  try {
    await promise;
  } catch (reason) {
    error = reason;
  }
  assert.isDefined(error, `expected a rejection with ${expected.code}`);
  expectErrorIs(error, expected);
}

/** Runs `action`, which must do what the oracle says: return that layout or throw that error. */
export function expectAnswer(action: () => LayoutArrays<MaskForm>, expected: Answer): void {
  if ('layout' in expected) {
    expectArrays(action(), expected.layout);
    return;
  }
  const { code, offender } = expected.error;
  const error = expectError(
    action,
    offender === undefined ? { code } : { code, token: offender.token, slot: offender.slot },
  );
  if (offender !== undefined) assert.strictEqual(String(error.value), String(offender.value));
}
