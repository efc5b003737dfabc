import { getDispatchLayout } from 'dispatch-layout';

const { device, numTokensPerRank } = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
document.querySelector('output').textContent = `${numTokensPerRank.join(' ')} on ${device}`;
