import { getDispatchLayout, prepare } from 'dispatch-layout';
import { expect, test } from 'vitest';

test('a layout, shown on the page', async () => {
  const topkIdx = { data: new Int32Array([0, 5, 6, -1]), shape: [2, 2] };
  const { device, numTokensPerRank } = getDispatchLayout(topkIdx, 8, { numRanks: 4 });
  document.body.textContent = `${numTokensPerRank.join(' ')} on ${device}`;
  expect(document.body.textContent).toBe('1 0 1 1 on wasm');
  expect(await prepare()).toBe('wasm');
});
