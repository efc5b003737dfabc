const { describeDevices, getDispatchLayout } = require('dispatch-layout');

test('a layout', () => {
  const layout = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
  expect(layout.device).toBe('wasm');
  expect([...layout.numTokensPerRank]).toEqual([1, 0, 1, 1]);
  expect([...layout.numTokensPerExpert]).toEqual([1, 0, 0, 0, 0, 1, 1, 0]);
  expect([...layout.isTokenInRank]).toEqual([1, 0, 1, 0, 0, 0, 0, 1]);
});

test('an Int32Array of the test', () => {
  const layout = getDispatchLayout({ data: new Int32Array([0, 5, 6, -1]), shape: [2, 2] }, 8, { numRanks: 4 });
  expect([...layout.numTokensPerRank]).toEqual([1, 0, 1, 1]);
});

test('this is Node.js, which loads addons', () => {
  const [cuda] = describeDevices();
  expect(cuda.device).toBe('cuda');
  expect(['NO_CUDA', 'ADDONS_FORBIDDEN']).not.toContain(cuda.code);
});
