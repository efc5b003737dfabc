/**
 * Measures what a call with tensors takes of JavaScript, Node-API and the addon, without a GPU: the CUDA runtime under
 * the addon returns at once and does nothing (`null_runtime.cpp`). Prints a table. `run.sh` runs this.
 */
import { ExpertGroup } from 'dispatch-layout';
import { DeviceTensor } from 'dispatch-layout/cuda';

const [numTokens, numTopk, numExperts, numRanks] = [4096, 8, 256, 64];
const group = new ExpertGroup({ numRanks, device: 'cuda' });
const topkIdx = DeviceTensor.from(new BigInt64Array(numTokens * numTopk), [numTokens, numTopk]);
const out = group.getDispatchLayout(topkIdx, numExperts);
const byExpert = group.getExpertPermutation(topkIdx, numExperts);
const byRank = group.getRankPermutation(topkIdx, numExperts);
const orders = { expertPermutation: true, rankPermutation: true };
const workspace = group.createWorkspace({ topkIdx, numExperts, ...orders });
const layout = (options) => () => group.getDispatchLayout(topkIdx, numExperts, options);

const calls = {
  'strict, `out` given': layout({ out }),
  "`invalidExperts: 'ignore'`, `out` given": layout({ out, invalidExperts: 'ignore' }),
  'strict, a new object for `out` each time': () => group.getDispatchLayout(topkIdx, numExperts, { out: { ...out } }),
  'strict, `asyncFinish`, `out` given': layout({ out, asyncFinish: true }),
  'strict, new results, disposed of': () => group.getDispatchLayout(topkIdx, numExperts)[Symbol.dispose](),
  '`run()` of a workspace': () => workspace.run(),
  '`getExpertPermutation`, strict, `out` given': () =>
    group.getExpertPermutation(topkIdx, numExperts, { out: byExpert }),
  '`runExpertPermutation()` of a workspace': () => workspace.runExpertPermutation(),
  '`getRankPermutation`, strict, `out` given': () => group.getRankPermutation(topkIdx, numExperts, { out: byRank }),
  '`runRankPermutation()` of a workspace': () => workspace.runRankPermutation(),
};

/** Microseconds of a call in one sample. */
function sample(call, count) {
  const begin = performance.now();
  for (let i = 0; i < count; i++) call();
  return ((performance.now() - begin) / count) * 1000;
}

const samples = Object.fromEntries(Object.keys(calls).map((name) => [name, []]));
for (const call of Object.values(calls)) sample(call, 20_000);
// The calls take turns, so that the noise of the machine meets all of them
for (let round = 0; round < 41; round++) {
  for (const [name, call] of Object.entries(calls)) samples[name].push(sample(call, 2000));
  await new Promise((resolve) => setImmediate(resolve));
}
console.log(`| a call with tensors, Node.js ${process.versions.node} | µs |\n|---|--:|`);
for (const [name, values] of Object.entries(samples)) {
  console.log(`| ${name} | ${values.sort((a, b) => a - b)[values.length >> 1].toFixed(2)} |`);
}
