/** @jest-environment @edge-runtime/jest-environment */
const { describeDevices, getDispatchLayout } = require('dispatch-layout');

test('this is the edge runtime', () => {
  expect(globalThis.EdgeRuntime).toBe('edge-runtime');
  expect(describeDevices()[0]).toMatchObject({ device: 'cuda', code: 'NO_CUDA' });
});

test('a layout', () => {
  const { device, numTokensPerRank } = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
  expect(device).toBe('wasm');
  expect([...numTokensPerRank]).toEqual([1, 0, 1, 1]);
});
