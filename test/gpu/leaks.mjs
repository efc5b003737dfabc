/** Checks that the memory of the GPU and of the process does not grow with many groups, tensors, calls and workers. */
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { ExpertGroup } from 'dispatch-layout';
import { DeviceTensor, Stream } from 'dispatch-layout/cuda';

const mebibytes = 2 ** 20;

/** The used memory of the GPU, as the driver counts it, and of this process, in MiB. */
async function memory() {
  for (let round = 0; round < 3; round++) {
    globalThis.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const used = execFileSync('nvidia-smi', ['--query-gpu=memory.used', '--format=csv,noheader,nounits'], {
    encoding: 'utf8',
  });
  return { gpu: Number.parseInt(used, 10), process: Math.round(process.memoryUsage().rss / mebibytes) };
}

const ids = BigInt64Array.from({ length: 4096 * 8 }, (_, i) => BigInt(i % 256));

async function useGroups(count) {
  for (let i = 0; i < count; i++) {
    const group = new ExpertGroup({ numRanks: 16, device: 'cuda' });
    const topkIdx = DeviceTensor.from(ids, [4096, 8]);
    group.getDispatchLayout({ data: ids, shape: [4096, 8] }, 256);
    const layout = group.getDispatchLayout(topkIdx, 256, { asyncFinish: true });
    if (i % 2 === 0) {
      await layout.event.wait();
      topkIdx.dispose();
      layout[Symbol.dispose]();
    }
    if (i % 50 === 0) {
      globalThis.gc?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

async function useOneGroup(count) {
  const group = new ExpertGroup({ numRanks: 16, device: 'cuda' });
  const topkIdx = DeviceTensor.from(ids, [4096, 8]);
  for (let i = 0; i < count; i++) {
    const layout = group.getDispatchLayout(topkIdx, 256);
    layout[Symbol.dispose]();
    if (i % 1000 === 0) await Stream.current.wait();
  }
}

async function useStreams(count) {
  const group = new ExpertGroup({ numRanks: 16, device: 'cuda' });
  const topkIdx = DeviceTensor.from(ids, [4096, 8]);
  const out = group.getDispatchLayout(topkIdx, 256);
  for (let i = 0; i < count; i++) {
    new Stream().run(() => group.getDispatchLayout(topkIdx, 256, { out, asyncFinish: i % 2 === 0 }));
    if (i % 50 === 0) {
      globalThis.gc?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

const worker = `
  const { parentPort } = require('node:worker_threads');
  const { ExpertGroup } = require('dispatch-layout');
  const { DeviceTensor } = require('dispatch-layout/cuda');
  const group = new ExpertGroup({ numRanks: 16, device: 'cuda' });
  const step = () => {
    const topkIdx = DeviceTensor.from(new BigInt64Array(4096 * 8), [4096, 8]);
    group.getDispatchLayout(topkIdx, 256, { asyncFinish: true });
    setImmediate(step);
  };
  step();
  parentPort.postMessage('ready');`;

async function useWorkers(count) {
  for (let i = 0; i < count; i++) {
    const thread = new Worker(worker, { eval: true });
    await once(thread, 'message');
    await new Promise((resolve) => setTimeout(resolve, i % 7));
    await thread.terminate();
  }
}

/** The second run of this file does this, in a process whose main thread never touches the GPU. */
const onlyWorkers = ['workers alone, terminated at work', useWorkers, 10, 60];
const isSecondRun = process.argv[2] === 'workers';
const runs = isSecondRun
  ? [onlyWorkers]
  : [
      ['groups with tensors, half of them dropped', useGroups, 500, 3000],
      ['calls of one group', useOneGroup, 2000, 50_000],
      ['streams that use one tensor in turn', useStreams, 200, 2000],
      ['workers, terminated at work', useWorkers, 10, 60],
    ];

let isLeaking = false;
for (const [name, use, warmUp, count] of runs) {
  await use(warmUp);
  const before = await memory();
  await use(count);
  const after = await memory();
  const grown = { gpu: after.gpu - before.gpu, process: after.process - before.process };
  console.log(
    `${count} ${name}: GPU ${before.gpu} + ${grown.gpu} MiB, process ${before.process} + ${grown.process} MiB`,
  );
  if (grown.gpu > 64 || grown.process > 128) isLeaking = true;
}
if (!isSecondRun) {
  const { status } = spawnSync(process.execPath, [...process.execArgv, process.argv[1], 'workers'], {
    stdio: 'inherit',
  });
  if (status !== 0) isLeaking = true;
}
process.exitCode = isLeaking ? 1 : 0;
