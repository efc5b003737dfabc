const { describeDevices, getDispatchLayout } = require('dispatch-layout');

const { device, numTokensPerRank } = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
const wasm = describeDevices().find((each) => each.device === 'wasm');
console.log(`${numTokensPerRank.join(' ')} on ${device}, wasm: ${wasm.code}`);
