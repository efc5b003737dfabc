/**
 * The variants that expectations, tables and plots refer to.
 *
 * @module
 */
export const names = {
  plain: 'plain JS, int32',
  plainOnly: 'plain JS, int32 only',
  simple: 'simple WASM, bytes',
  simpleMask: 'simple WASM, mask',
  kernel: 'kernel in memory',
  workspace: 'workspace',
  call: 'wasm',
  native: 'native',
} as const;
