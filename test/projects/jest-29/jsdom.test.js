/** @jest-environment jsdom */
import { describeDevices, getDispatchLayout } from 'dispatch-layout';

test('a layout, shown on the page', () => {
  const { device, numTokensPerRank } = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
  document.body.textContent = `${[...numTokensPerRank].join(' ')} on ${device}`;
  expect(document.body.textContent).toBe('1 0 1 1 on wasm');
});

test('this is the build for browsers', () => {
  expect(describeDevices()[0]).toMatchObject({ device: 'cuda', code: 'NO_CUDA' });
});
