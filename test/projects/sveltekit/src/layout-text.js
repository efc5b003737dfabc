import { getDispatchLayout } from 'dispatch-layout';

export function layoutText() {
  const { device, numTokensPerRank } = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
  return `${numTokensPerRank.join(' ')} on ${device}`;
}
