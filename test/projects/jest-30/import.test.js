import { ExpertGroup, InvalidExpertError, prepare } from 'dispatch-layout';

test('a group', async () => {
  expect(await prepare()).toBe('wasm');
  const group = new ExpertGroup({ numRanks: 4 });
  expect(group.device).toBe('wasm');
  expect([...group.getDispatchLayout([[0, 5], [6, -1]], 8).numTokensPerRank]).toEqual([1, 0, 1, 1]);
  expect(() => group.getDispatchLayout([[8]], 8)).toThrow(InvalidExpertError);
});
