/**
 * Measures whole calls: with host arrays on `cuda` and on `wasm`, and with tensors on `cuda`. The first two determine
 * the crossover of `device: 'auto'` (ts/devices/cuda/crossover.ts). Writes $GPU_RESULTS.json and $GPU_RESULTS.md.
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { ExpertGroup } from 'dispatch-layout';
import { DeviceTensor, Stream } from 'dispatch-layout/cuda';

const numTopk = 8;
const numExperts = 256;

function median(values) {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** The median microseconds of a call, over batches that take about `milliseconds` together. */
function time(call, milliseconds = 120) {
  for (let i = 0; i < 20; i++) call();
  let numCalls = 1;
  for (;;) {
    const begin = performance.now();
    for (let i = 0; i < numCalls; i++) call();
    if (performance.now() - begin > milliseconds / 20) break;
    numCalls *= 2;
  }
  const samples = Array.from({ length: 20 }, () => {
    const begin = performance.now();
    for (let i = 0; i < numCalls; i++) call();
    return ((performance.now() - begin) / numCalls) * 1000;
  });
  return median(samples);
}

// The first use loads the driver, makes a context, and runs the self-check.
const beginWaking = performance.now();
new ExpertGroup({ numRanks: 8, device: 'cuda' });
const waking = performance.now() - beginWaking;
console.log(`setting CUDA up: ${waking.toFixed(0)} ms`);

const table = [];
for (const numRanks of [8, 64]) {
  const onGpu = new ExpertGroup({ numRanks, device: 'cuda' });
  const onCpu = new ExpertGroup({ numRanks, device: 'wasm' });
  for (const numTokens of [1, 128, 1024, 4096, 16384, 65536, 262144, 1048576]) {
    const data = BigInt64Array.from({ length: numTokens * numTopk }, (_, i) => BigInt(Math.imul(i, 2654435761) >>> 24));
    const request = { data, shape: [numTokens, numTopk] };
    const outOf = (group) => group.getDispatchLayout(request, numExperts);
    const wasmOut = outOf(onCpu);
    const cudaOut = outOf(onGpu);
    for (const name of ['numTokensPerRank', 'numTokensPerExpert', 'isTokenInRank']) {
      if (!wasmOut[name].every((value, i) => value === cudaOut[name][i])) throw new Error(`${name} differs`);
    }
    const wasm = time(() => onCpu.getDispatchLayout(request, numExperts, { out: wasmOut }));
    const cuda = time(() => onGpu.getDispatchLayout(request, numExperts, { out: cudaOut }));
    const tensor = DeviceTensor.from(data, [numTokens, numTopk]);
    const out = onGpu.getDispatchLayout(tensor, numExperts);
    const stream = Stream.current;
    const waited = time(() => {
      onGpu.getDispatchLayout(tensor, numExperts, { out });
      stream.synchronize();
    });
    const waitedNew = time(() => {
      const layout = onGpu.getDispatchLayout(tensor, numExperts);
      stream.synchronize();
      layout[Symbol.dispose]();
    });
    // The queue is finite, so the calls must not be faster than the GPU for long.
    let queued = 0;
    const queuedOut = time(() => {
      onGpu.getDispatchLayout(tensor, numExperts, { out });
      if (++queued % 100 === 0) stream.synchronize();
    });
    tensor.dispose();
    table.push({ numTokens, numTopk, numExperts, numRanks, wasm, cuda, waited, waitedNew, queuedOut });
    console.log(
      `T=${numTokens} R=${numRanks}: wasm ${wasm.toFixed(1)} µs, cuda from host arrays ${cuda.toFixed(1)} µs, tensors ${waited.toFixed(1)} µs (new outputs ${waitedNew.toFixed(1)}), queued ${queuedOut.toFixed(1)} µs a call`,
    );
  }
}

const {
  GPU_NAME: gpu = 'unknown GPU',
  GPU_DRIVER: driver = 'unknown',
  GPU_DATE: date = 'undated',
  GPU_RESULTS: path,
} = process.env;
if (path !== undefined) {
  const cpu = cpus()[0]?.model ?? 'unknown processor';
  const node = process.version;
  writeFileSync(
    `${path}.json`,
    `${JSON.stringify({ gpu, driver, date, cpu, node, millisecondsToSetUp: waking, microseconds: table }, null, 2)}\n`,
  );
  const rows = table.map((row) =>
    [
      row.numTokens,
      row.numRanks,
      ...[row.wasm, row.cuda, row.waited, row.waitedNew, row.queuedOut].map((each) => each.toFixed(1)),
    ].join(' | '),
  );
  writeFileSync(
    `${path}.md`,
    `# Call times on ${gpu}, ${date}

Driver ${driver}, ${cpu}, Node.js ${node}. The figures are median microseconds of a whole \`getDispatchLayout\` call with int64
ids, K = ${numTopk} and E = ${numExperts}, with a given \`out\` unless a column says otherwise. "Host arrays" are typed arrays, for ids and
results. "Tensors" are DeviceTensors; the call is followed by a wait for the stream. "Queued" is the same with a wait only after every
hundredth call: this is the time of a caller that goes on working on the GPU. Setting CUDA up took ${waking.toFixed(0)} ms.

| T | R | wasm, host arrays | cuda, host arrays | tensors, waited | … new outputs | queued |
|--:|--:|--:|--:|--:|--:|--:|
${rows.map((row) => `| ${row} |`).join('\n')}
`,
  );
}
