import { type DispatchLayout, ExpertGroup, getDispatchLayout, InvalidExpertError } from 'dispatch-layout';

const topkIdx = [
  [0, 5],
  [6, -1],
];

test('a layout, with its types', () => {
  const layout: DispatchLayout = getDispatchLayout(topkIdx, 8, { numRanks: 4 });
  const numTokensPerRank: Int32Array = layout.numTokensPerRank;
  expect(layout.device).toBe('wasm');
  expect([...numTokensPerRank]).toEqual([1, 0, 1, 1]);
});

test('a group', () => {
  const group = new ExpertGroup({ numRanks: 4 });
  expect([...group.getDispatchLayout(topkIdx, 8).numTokensPerExpert]).toEqual([1, 0, 0, 0, 0, 1, 1, 0]);
  expect(() => group.getDispatchLayout([[8]], 8)).toThrow(InvalidExpertError);
});

test('wrong types are found, so there are types', () => {
  // @ts-expect-error
  expect(() => getDispatchLayout('0 5', 8, { numRanks: 4 })).toThrow();
});
