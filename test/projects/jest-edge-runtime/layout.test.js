/** @jest-environment @edge-runtime/jest-environment */
const { getDispatchLayout } = require('dispatch-layout');

test('a layout in the edge runtime', () => {
  expect(globalThis.EdgeRuntime).toBe('edge-runtime');
  const { device, numTokensPerRank } = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
  expect(device).toBe('wasm');
  expect([...numTokensPerRank]).toEqual([1, 0, 1, 1]);
});
