import { describeDevices, getDispatchLayout } from 'dispatch-layout';

/** A layout, and whether WebAssembly may be used for it here. */
export function layoutText(topkIdx) {
  const { device, numTokensPerRank } = getDispatchLayout(topkIdx, 8, { numRanks: 4 });
  const wasm = describeDevices().find((each) => each.device === 'wasm');
  return `${numTokensPerRank.join(' ')} on ${device}, wasm: ${wasm.code}`;
}
