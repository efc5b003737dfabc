import { describeDevices, getDispatchLayout } from 'dispatch-layout';

const topkIdx = [
  [0, 5],
  [6, -1],
];
const { device, numTokensPerRank } = getDispatchLayout(topkIdx, 8, { numRanks: 4 });
const wasm = describeDevices().find((each) => each.device === 'wasm');
console.log(`${numTokensPerRank.join(' ')} on ${device}, wasm: ${wasm.code}`);
