/**
 * Compiles the unchanged source of the WASM kernel for this machine, and compares random layouts and orders of rows with naive
 * references.
 */
import { assert } from 'chai';
import { describeNative, runNative } from '../native/programs.ts';

describeNative('the WASM kernel, compiled natively', ['layout_test', 'layout_test_fast'], () => {
  for (const [program, what, seed, numCases] of [
    ['layout_test', 'under sanitizers', 1, 4000],
    ['layout_test_fast', 'as it is benchmarked', 2, 10000],
  ] as const) {
    it(`${numCases} random layouts and orders of rows, ${what}`, () => {
      const printed = runNative(program, [String(seed), String(numCases)]);
      assert.match(printed, new RegExp(`^${numCases} layouts and orders equal the references`));
    });
  }
});
