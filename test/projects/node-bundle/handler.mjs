import { describeDevices, getDispatchLayout } from 'dispatch-layout';

/** A function as cloud providers run them: one file of CommonJS, without node_modules. */
export async function handler({ topkIdx, numExperts, numRanks }) {
  const { device, numTokensPerRank } = getDispatchLayout(topkIdx, numExperts, { numRanks });
  return { device, numTokensPerRank: [...numTokensPerRank], devices: describeDevices() };
}
