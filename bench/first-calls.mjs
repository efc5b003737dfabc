/**
 * A process that has just started: how long it takes to the first layout, and what it holds. Run by run.ts in fresh
 * processes of plain node, with --expose-gc; prints one JSON object.
 *
 * 4096 tokens, top-8 of 256 experts, 64 ranks, int64, device wasm.
 */
const numTokens = 4096;
const data = BigInt64Array.from({ length: numTokens * 8 }, (_, i) => BigInt((i * 7919) % 256));
const topkIdx = { data, shape: [numTokens, 8] };

// The memory of the kernel, which the library keeps to itself
let memory;
WebAssembly.Instance = class extends WebAssembly.Instance {
  constructor(...parameters) {
    super(...parameters);
    memory = this.exports.memory;
  }
};

async function timed(action) {
  const start = performance.now();
  const result = await action();
  return [performance.now() - start, result];
}

const [importMilliseconds, { ExpertGroup }] = await timed(() => import('dispatch-layout'));
const group = new ExpertGroup({ numRanks: 64, device: 'wasm' });
const [firstMilliseconds, out] = await timed(() => group.getDispatchLayout(topkIdx, 256));
const [secondMilliseconds] = await timed(() => group.getDispatchLayout(topkIdx, 256, { out }));

// Until every tier has compiled what it is going to
const times = [];
for (const start = performance.now(); performance.now() - start < 300; ) {
  const before = performance.now();
  group.getDispatchLayout(topkIdx, 256, { out });
  times.push(performance.now() - before);
}
const last = times.slice(-200).sort((a, b) => a - b);

const numCalls = 10_000;
for (let call = 0; call < numCalls; call++) group.getDispatchLayout(topkIdx, 256, { out });
globalThis.gc();
const heapBytes = process.memoryUsage().heapUsed;
for (let call = 0; call < numCalls; call++) group.getDispatchLayout(topkIdx, 256, { out });
globalThis.gc();
const heapBytesPerCall = (process.memoryUsage().heapUsed - heapBytes) / numCalls;

console.log(
  JSON.stringify({
    importMilliseconds,
    firstMilliseconds,
    secondMilliseconds,
    steadyNanosecondsPerToken: (last[last.length >> 1] / numTokens) * 1e6,
    wasmBytes: memory.buffer.byteLength,
    heapBytesPerCall,
  }),
);
