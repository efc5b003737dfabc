import { describeDevices, getDispatchLayout } from 'dispatch-layout';

/** A layout and its device, and whether WebAssembly may be used here. */
export function layoutText(topkIdx) {
  const { device, numTokensPerRank } = getDispatchLayout(topkIdx, 8, { numRanks: 4 });
  const wasm = describeDevices().find((each) => each.device === 'wasm');
  return `${numTokensPerRank.join(' ')} on ${device}, wasm: ${wasm.code}`;
}
