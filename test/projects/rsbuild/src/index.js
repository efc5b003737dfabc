import { getDispatchLayout } from 'dispatch-layout';

const { device, numTokensPerRank } = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
const output = document.createElement('output');
output.textContent = `${numTokensPerRank.join(' ')} on ${device}`;
document.body.append(output);
