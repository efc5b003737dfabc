import { describeDevices, getDispatchLayout, InvalidExpertError, prepare } from 'dispatch-layout';

const { device, numTokensPerRank } = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
const wasm = describeDevices().find((each) => each.device === 'wasm');
console.log(`${numTokensPerRank.join(' ')} on ${device}, wasm: ${wasm.code}`);

try {
  getDispatchLayout([[8]], 8, { numRanks: 4 });
} catch (error) {
  console.log(`${error instanceof InvalidExpertError} ${error.code}`);
}

prepare().then((prepared) => console.log(`prepared ${prepared}`));
