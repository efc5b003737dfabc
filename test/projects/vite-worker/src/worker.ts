import { getDispatchLayout } from 'dispatch-layout';

addEventListener('message', ({ data }: MessageEvent<number[][]>) => {
  const { device, numTokensPerRank } = getDispatchLayout(data, 8, { numRanks: 4 });
  postMessage(`${numTokensPerRank.join(' ')} on ${device}`);
});
