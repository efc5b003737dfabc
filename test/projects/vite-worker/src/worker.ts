import { getDispatchLayout } from 'dispatch-layout';

onmessage = ({ data }: MessageEvent<number[][]>) => {
  const { device, numTokensPerRank } = getDispatchLayout(data, 8, { numRanks: 4 });
  postMessage(`${numTokensPerRank.join(' ')} on ${device}`);
};
