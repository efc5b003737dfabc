/** What ranks receive of layouts in tensors on the GPU: their counts are copied to the host first. */
import { assert } from 'chai';
import {
  ExpertGroup,
  InvalidExpertError,
  type ReceiveLayout,
  type Sent,
  simulateDispatch,
  type TopkIdxInput,
} from 'dispatch-layout';
import { DeviceTensor } from 'dispatch-layout/cuda';
import { expectError } from '../support/expect.ts';
import { describeOnCuda } from './on-cuda.ts';

const topkIdxOfRanks = [
  { data: BigInt64Array.of(0n, 3n, 1n, 0n), shape: [2, 2] },
  { data: BigInt64Array.of(2n, -1n), shape: [1, 2] },
] as const;

const group = () => new ExpertGroup({ numRanks: 2, device: 'cuda' });
const tensorOf = ({ data, shape }: (typeof topkIdxOfRanks)[number]) => DeviceTensor.from(data, shape);

/** Hands every rank the pieces for it. */
function engine(numRanks: number) {
  const posted: Uint8Array[] = [];
  let startAll = (): void => {};
  const all = new Promise<void>((resolve) => {
    startAll = resolve;
  });
  return (rank: number) => async (bytes: Uint8Array, bytesPerRank: number) => {
    posted[rank] = bytes;
    if (Object.keys(posted).length === numRanks) startAll();
    await all;
    return Buffer.concat(posted.map((from) => from.subarray(rank * bytesPerRank, (rank + 1) * bytesPerRank)));
  };
}

describeOnCuda('exchange of layouts on the GPU', () => {
  for (const asyncFinish of [false, true]) {
    it(`is what the simulation says${asyncFinish ? ', without a wait between' : ''}`, async () => {
      const engineOf = engine(2);
      const received = await Promise.all(
        topkIdxOfRanks.map((topkIdx, rank) => {
          const own = group();
          return own.exchange(own.getDispatchLayout(tensorOf(topkIdx), 4, { asyncFinish }), engineOf(rank), {
            alignment: 2,
          });
        }),
      );
      const { ranks } = simulateDispatch(topkIdxOfRanks as readonly TopkIdxInput[], 4, { alignment: 2 });
      for (const [rank, layout] of received.entries()) {
        const expected = ranks[rank].received as Partial<Record<keyof ReceiveLayout, unknown>>;
        for (const [name, value] of Object.entries(layout)) {
          assert.deepStrictEqual(value, expected[name as keyof ReceiveLayout], name);
        }
      }
    });
  }

  it('rejects with the invalid id of the layout before it calls the engine', async () => {
    const own = group();
    const layout = own.getDispatchLayout(DeviceTensor.from(BigInt64Array.of(0n, 9n), [1, 2]), 4);
    const neverCalled = () => assert.fail('allToAll was called');
    const error = await own.exchange(layout, neverCalled).catch((caught: unknown) => caught);
    assert.instanceOf(error, InvalidExpertError);
  });

  it('takes a layout of host arrays that the GPU is still computing', async () => {
    const own = new ExpertGroup({ numRanks: 1, device: 'cuda' });
    const layout = own.getDispatchLayout([[0, 3]], 4, { asyncFinish: true });
    const received = await own.exchange(layout, async (bytes) => bytes);
    assert.deepStrictEqual(Array.from(received.numTokensPerExpert), [1, 0, 0, 1]);
  });

  it('getReceiveLayout and simulateDispatch want the counts and the ids on the host', () => {
    const own = group();
    const sent = topkIdxOfRanks.map((topkIdx) => own.getDispatchLayout(tensorOf(topkIdx), 4));
    expectError(() => own.getReceiveLayout(sent as unknown as Sent, 4, 0), {
      code: 'SENT',
      message: /sent\[0\]\.numTokensPerRank is on the device cuda.*toTypedArray/,
    });
    expectError(() => simulateDispatch(topkIdxOfRanks.map(tensorOf) as unknown as TopkIdxInput[], 4), {
      code: 'TOPK_TYPE',
      message: /^rank 0: topkIdx is .*copy it to the host/,
    });
  });
});
