/**
 * Measures how much memory is still in use after calls of 4096 tokens, top-8 of 256 experts, on 64 ranks, with int64
 * ids and the device wasm. run.ts runs this in new processes of plain Node.js, with --expose-gc. The output is one JSON
 * object.
 */
const numTokens = 4096;
const data = BigInt64Array.from({ length: numTokens * 8 }, (_, i) => BigInt((i * 7919) % 256));
const topkIdx = { data, shape: [numTokens, 8] };

// The kernel's memory. The library does not export it, so it is taken from the instance when that is made
let memory;
WebAssembly.Instance = class extends WebAssembly.Instance {
  constructor(...parameters) {
    super(...parameters);
    memory = this.exports.memory;
  }
};

const { ExpertGroup } = await import('dispatch-layout');
const group = new ExpertGroup({ numRanks: 64, device: 'wasm' });
const out = group.getDispatchLayout(topkIdx, 256);

const numCalls = 10_000;
for (let call = 0; call < numCalls; call++) group.getDispatchLayout(topkIdx, 256, { out });
globalThis.gc();
const heapBytes = process.memoryUsage().heapUsed;
for (let call = 0; call < numCalls; call++) group.getDispatchLayout(topkIdx, 256, { out });
globalThis.gc();
const heapBytesPerCall = (process.memoryUsage().heapUsed - heapBytes) / numCalls;

console.log(JSON.stringify({ wasmBytes: memory.buffer.byteLength, heapBytesPerCall }));
