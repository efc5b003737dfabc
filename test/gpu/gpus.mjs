/**
 * Computes layouts on every GPU of the machine, while another library (`test/cuda-fake/other_library.cpp`) changes the
 * current GPU between the calls: `gpus.mjs PATH`, the path of that library.
 */
import { createRequire } from 'node:module';
import { describeDevices, ExpertGroup, getDispatchLayout } from 'dispatch-layout';
import { DeviceTensor, Stream } from 'dispatch-layout/cuda';

const other = createRequire(import.meta.url)(process.argv[2]);
const [{ gpus }] = describeDevices();
const names = ['numTokensPerRank', 'numTokensPerRdmaRank', 'numTokensPerExpert', 'isTokenInRank'];
const host = { data: Int32Array.from({ length: 4096 * 8 }, (_, i) => (i * 37) % 256), shape: [4096, 8] };
const expected = getDispatchLayout(host, 256, { numRanks: 16, device: 'js' });

function check(what, layout) {
  for (const name of names) {
    const actual = layout[name].toTypedArray?.() ?? layout[name];
    if (!actual.every((value, i) => value === expected[name][i])) throw new Error(`${what}: ${name} is wrong`);
  }
}

let numCalls = 0;
async function beside(what, use) {
  const current = numCalls++ % gpus.length;
  other.setDevice(current);
  const result = await use();
  if (other.getDevice() !== current) throw new Error(`${what} has changed the current GPU`);
  return result;
}

for (let round = 0; round < 4; round++) {
  for (const { device, reason } of gpus) {
    if (reason !== undefined) continue;
    const group = await beside('a group', () => new ExpertGroup({ numRanks: 16, device }));
    check('host arrays', await beside('host arrays', () => group.getDispatchLayout(host, 256)));
    const stream = await beside('a stream', () => new Stream({ device }));
    const topkIdx = await beside('a tensor', () => stream.run(() => DeviceTensor.from(host.data, host.shape)));
    if (topkIdx.device !== device) throw new Error(`a tensor for ${device} is on ${topkIdx.device}`);
    const layout = await beside('a layout', () => stream.run(() => group.getDispatchLayout(topkIdx, 256)));
    await beside('copies', () => stream.run(() => check('tensors', layout)));
    const later = await beside('an asynchronous layout', () =>
      group.getDispatchLayout(topkIdx, 256, { previousEvent: stream.record(), asyncFinish: true }),
    );
    await beside('a wait', () => later.event.wait());
    await beside('copies of the asynchronous layout', () => check('an asynchronous layout', later));
    await beside('disposing', () => {
      for (const each of [layout, later, topkIdx]) each[Symbol.dispose]();
    });
  }
}
console.log(`${numCalls} calls on ${gpus.length} GPUs left the current GPU alone, and all layouts are right`);
