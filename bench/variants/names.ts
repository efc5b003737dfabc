/**
 * The names of the variants that expectations, tables and plots refer to.
 *
 * @module
 */
export const names = {
  plain: 'plain JS, int32',
  plainOnly: 'plain JS, int32 only',
  simple: 'simple WASM',
  kernel: 'kernel in memory',
  workspace: 'workspace',
  call: 'wasm',
  newArrays: 'wasm, new arrays',
  native: 'native',
  /** Layouts of the same ids, beside orders of rows. */
  layoutKernel: 'layout, kernel in memory',
  layoutCall: 'layout, wasm',
} as const;
