import { describeDevices, getDispatchLayout } from 'dispatch-layout';

/** A function like those that cloud providers run. It is bundled into one CommonJS file, without node_modules. */
export async function handler({ topkIdx, numExperts, numRanks }) {
  const { device, numTokensPerRank } = getDispatchLayout(topkIdx, numExperts, { numRanks });
  return { device, numTokensPerRank: [...numTokensPerRank], devices: describeDevices() };
}
