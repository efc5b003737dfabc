/** @jest-environment jsdom */
import { getDispatchLayout } from 'dispatch-layout';

test('a layout, shown on the page', () => {
  const { device, numTokensPerRank } = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
  document.body.textContent = `${[...numTokensPerRank].join(' ')} on ${device}`;
  expect(document.body.textContent).toBe('1 0 1 1 on wasm');
});
