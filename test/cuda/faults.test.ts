/**
 * Faults of a GPU, on a machine without one: every fault ends in a fallback (`auto`) or in a clear error (`cuda`). Each
 * test runs in a process of its own, with the fake CUDA runtime unless it is about the addon itself.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert } from 'chai';
import type { DeviceDescription, ObstacleCode } from 'dispatch-layout';
import { runScript } from '../support/run-script.ts';
import { fakeAddon } from './fake.ts';

/** The results of the script below. */
interface Findings {
  readonly described: DeviceDescription;
  /** The layout with `device: 'auto'` and a crossover of 0, with which it prefers the GPU. */
  readonly auto: { readonly device: string; readonly numTokensPerRank: readonly number[] };
  readonly cuda: Attempt;
  /** The second attempt with `device: 'cuda'`. */
  readonly again: Attempt;
  readonly tensor: Attempt;
}

interface Attempt {
  readonly numTokensPerRank?: readonly number[];
  readonly name?: string;
  readonly code?: string;
  readonly message?: string;
  /** The description in a DeviceUnavailableError. */
  readonly description?: DeviceDescription;
}

const script = `
  import { describeDevices, getDispatchLayout } from 'dispatch-layout';
  import { DeviceTensor } from 'dispatch-layout/cuda';
  const rows = [[0, 1], [2, 7], [-1, 5]];
  const attempt = (run) => {
    try {
      return { numTokensPerRank: [...run().numTokensPerRank] };
    } catch ({ name, code, message, description }) {
      return { name, code, message, description };
    }
  };
  const probe = () => describeDevices().find(({ device }) => device === 'cuda');
  if (process.env.PROBE_FIRST) probe();
  if (process.env.LATE_FAULT) process.env.FAKE_CUDA_FAULT = process.env.LATE_FAULT;
  const auto = getDispatchLayout(rows, 8, { numRanks: 4 });
  const onCuda = () => getDispatchLayout(rows, 8, { numRanks: 4, device: 'cuda' });
  const cuda = attempt(onCuda);
  const again = attempt(onCuda);
  const tensor = attempt(() => {
    const topkIdx = DeviceTensor.from(Int32Array.from(rows.flat()), [3, 2]);
    const { numTokensPerRank } = getDispatchLayout(topkIdx, 8, { numRanks: 4 });
    return { numTokensPerRank: numTokensPerRank.toTypedArray() };
  });
  console.log(JSON.stringify({
    described: probe(),
    auto: { device: auto.device, numTokensPerRank: [...auto.numTokensPerRank] },
    cuda, again, tensor,
  }));
`;

const right = [1, 1, 1, 1];

function find(env: Record<string, string>, flags: readonly string[] = []): Findings {
  const settings = { DISPATCH_LAYOUT_CUDA_CROSSOVER: '0', DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), ...env };
  const { status, stdout, stderr } = runScript(script, settings, flags);
  assert.strictEqual(status, 0, stderr);
  return JSON.parse(stdout) as Findings;
}

/** Checks that nothing runs on the GPU, that `auto` falls back, and that all errors give the same reason. */
function expectUnavailable(
  { described, auto, cuda, tensor }: Findings,
  code: ObstacleCode,
  reason: RegExp,
  remedy: RegExp,
): void {
  const { gpus, ...description } = described;
  assert.isArray(gpus);
  assert.isFalse(described.available);
  assert.strictEqual(described.code, code);
  assert.match(described.reason, reason);
  assert.match(described.remedy ?? '', remedy);
  assert.deepStrictEqual(auto, { device: 'wasm', numTokensPerRank: right });
  for (const attempt of [cuda, tensor]) {
    assert.strictEqual(attempt.code, 'DEVICE_UNAVAILABLE');
    assert.strictEqual(attempt.name, 'DeviceUnavailableError');
    assert.match(attempt.message ?? '', /^device 'cuda' is not available, because /);
    assert.match(attempt.message ?? '', reason);
    assert.match(attempt.message ?? '', remedy);
    assert.deepStrictEqual(attempt.description, description);
  }
}

describe('faults of CUDA', function () {
  this.timeout(60_000);
  let folder = '';
  before(() => {
    fakeAddon();
    folder = mkdtempSync(join(tmpdir(), 'dispatch-layout-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('none: everything runs on the GPU', () => {
    const { described, auto, cuda, tensor } = find({});
    assert.isTrue(described.available);
    assert.deepStrictEqual(described.versions, { driver: '13.0', addon: '13.0' });
    assert.match(described.reason, /^fake GPU \(compute capability 9\.0\), 8 GiB; driver for CUDA 13\.0/);
    assert.deepStrictEqual(auto, { device: 'cuda', numTokensPerRank: right });
    assert.deepStrictEqual(cuda.numTokensPerRank, right);
    assert.deepStrictEqual(tensor.numTokensPerRank, right);
  });

  describe('the addon', () => {
    it('missing', () => {
      const path = join(folder, 'nowhere.node');
      const findings = find({ DISPATCH_LAYOUT_CUDA_ADDON: path });
      expectUnavailable(
        findings,
        'ADDON_MISSING',
        /cannot be loaded \(.*nowhere\.node: Cannot find module/,
        /DISPATCH_LAYOUT_CUDA_ADDON/,
      );
    });

    it('corrupt', () => {
      const path = join(folder, 'corrupt.node');
      writeFileSync(path, '\x7fELF and nothing more');
      const findings = find({ DISPATCH_LAYOUT_CUDA_ADDON: path });
      expectUnavailable(
        findings,
        'ADDON_BROKEN',
        /cannot be loaded \(.*corrupt\.node: .*not an addon/,
        /DISPATCH_LAYOUT_CUDA_ADDON/,
      );
    });

    for (const percent of [10, 50, 90, 99]) {
      it(`truncated to ${percent} %, with which loading would kill the process`, () => {
        const path = join(folder, `short-${percent}.node`);
        const whole = readFileSync(fakeAddon());
        writeFileSync(path, whole.subarray(0, Math.floor((whole.length * percent) / 100)));
        const findings = find({ DISPATCH_LAYOUT_CUDA_ADDON: path });
        expectUnavailable(
          findings,
          'ADDON_BROKEN',
          /cannot be loaded \(.*it is cut short/,
          /DISPATCH_LAYOUT_CUDA_ADDON/,
        );
      });
    }

    it('without access to the environment and the report, as in Deno: nothing throws', () => {
      const { status, stdout, stderr } = runScript(
        `
        import { describeDevices, getDispatchLayout } from 'dispatch-layout';
        const denied = { get() { throw new Error('NotCapable'); } };
        Object.defineProperty(process, 'env', denied);
        process.report.getReport = denied.get;
        const { device } = getDispatchLayout({ data: new Int32Array(2 ** 18), shape: [2 ** 15, 8] }, 8, { numRanks: 4 });
        const [cuda] = describeDevices();
        process.stdout.write([device, cuda.device, typeof cuda.reason].join(' '));`,
        {},
      );
      assert.strictEqual(status, 0, stderr);
      assert.strictEqual(stdout.trim(), 'wasm cuda string');
    });

    it('of another version', () => {
      const path = join(folder, 'other.cjs');
      writeFileSync(path, 'module.exports = { interfaceVersion: 0 };');
      const findings = find({ DISPATCH_LAYOUT_CUDA_ADDON: path });
      expectUnavailable(
        findings,
        'ADDON_BROKEN',
        /another version of dispatch-layout \(interface 0, not \d+\)/,
        /DISPATCH_LAYOUT_CUDA_ADDON/,
      );
    });

    it('not allowed: --no-addons', () => {
      expectUnavailable(
        find({}, ['--no-addons']),
        'ADDONS_FORBIDDEN',
        /cannot be loaded/,
        /without --no-addons and, .* with --allow-addons/,
      );
    });

    it('disabled', () => {
      const findings = find({ DISPATCH_LAYOUT_DISABLE: 'cuda' });
      expectUnavailable(findings, 'DISABLED', /DISPATCH_LAYOUT_DISABLE names it/, /Take 'cuda' out/);
    });

    it('as it is shipped: works, or says why it cannot be used', () => {
      const { described, auto, cuda } = find({ DISPATCH_LAYOUT_CUDA_ADDON: '' });
      if (described.available) {
        assert.deepStrictEqual(cuda.numTokensPerRank, right);
        return;
      }
      assert.match(described.reason, /no NVIDIA driver|too old|finds no GPU|no prebuilt|cannot be loaded/);
      assert.strictEqual(cuda.code, 'DEVICE_UNAVAILABLE');
      assert.deepStrictEqual(auto, { device: 'wasm', numTokensPerRank: right });
    });
  });

  describe('the driver', () => {
    it('missing', () => {
      expectUnavailable(
        find({ FAKE_CUDA_DRIVER: '0' }),
        'NO_DRIVER',
        /there is no NVIDIA driver here/,
        /Install the NVIDIA driver/,
      );
    });

    it('too old', () => {
      const reason = /too old: it is for CUDA 12\.4, and the addon is of CUDA 13\.0/;
      expectUnavailable(find({ FAKE_CUDA_DRIVER: '12040' }), 'OLD_DRIVER', reason, /Update the NVIDIA driver to 580/);
    });

    it('of the same major version as the addon: everything runs on the GPU', () => {
      const { described, cuda } = find({ FAKE_CUDA_RUNTIME: '12040', FAKE_CUDA_DRIVER: '12000' });
      assert.deepStrictEqual(described.versions, { driver: '12.0', addon: '12.4' });
      assert.deepStrictEqual(cuda.numTokensPerRank, right);
    });

    it('too old or missing for an addon of CUDA 12: another driver is named', () => {
      for (const driver of ['11080', '0']) {
        const { described } = find({ FAKE_CUDA_RUNTIME: '12040', FAKE_CUDA_DRIVER: driver });
        assert.match(described.remedy ?? '', /NVIDIA driver(,| to) 525 or later/);
      }
    });

    it('without a GPU', () => {
      expectUnavailable(
        find({ FAKE_CUDA_DEVICES: '0' }),
        'NO_GPU',
        /finds no GPU .*cudaErrorNoDevice/,
        /CUDA_VISIBLE_DEVICES/,
      );
    });

    it('with a GPU that is too old', () => {
      expectUnavailable(
        find({ FAKE_CUDA_CAPABILITY: '61' }),
        'UNSUPPORTED_GPU',
        /6\.1\) is older than compute capability 7\.5/,
        /wasm/,
      );
    });

    it('failing', () => {
      const findings = find({ FAKE_CUDA_FAULT: 'cudaGetDeviceCount=719@1' });
      expectUnavailable(
        findings,
        'DRIVER_ERROR',
        /reports an error \(cudaGetDeviceCount: cudaErrorLaunchFailure/,
        /nvidia-smi/,
      );
    });

    it('before the fabric manager runs', () => {
      expectUnavailable(
        find({ FAKE_CUDA_FAULT: 'cudaGetDeviceCount=802@1' }),
        'DRIVER_ERROR',
        /the driver is not ready yet \(cudaGetDeviceCount: cudaErrorSystemNotReady\)/,
        /fabric manager.*try again/,
      );
    });

    it('failing with the first context', () => {
      const findings = find({ FAKE_CUDA_FAULT: 'cudaMemPoolCreate=2@1' });
      expectUnavailable(
        { ...findings, tensor: findings.cuda },
        'SELF_CHECK_FAILED',
        /a first layout fails .*cudaMemPoolCreate/,
        /nvidia-smi/,
      );
      assert.strictEqual(findings.tensor.code, 'OUT_OF_MEMORY');
      assert.notInclude(findings.described.reason, '.)');
    });

    for (const fault of ['cudaMemPoolCreate=2!@1', 'cudaGetDeviceCount=2!@1', 'cudaGetDeviceCount=802!@1']) {
      it(`with a shortage at first, ${fault}: the next use finds the GPU`, () => {
        const { stdout } = runScript(
          `
          import { describeDevices } from 'dispatch-layout';
          for (let use = 0; use < 2; use++) console.log(describeDevices()[0].available);`,
          { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), FAKE_CUDA_FAULT: fault },
        );
        assert.deepStrictEqual(stdout.trim().split('\n'), ['false', 'true']);
      });
    }

    it('with a GPU that computes wrong results', () => {
      expectUnavailable(
        find({ FAKE_CUDA_WRONG: '1' }),
        'SELF_CHECK_FAILED',
        /computes wrong layouts \(numTokensPerRank/,
        /report/,
      );
    });
  });

  describe('during work', () => {
    const late = (fault: string) => find({ PROBE_FIRST: '1', LATE_FAULT: fault });

    it('out of memory once: auto falls back, and the group works again', () => {
      const { auto, cuda, described } = late('cudaHostAlloc=2!@1');
      assert.isTrue(described.available);
      // The staging memory of the probe may be enough, so the failure may come later than the first call.
      assert.deepStrictEqual(auto.numTokensPerRank, right);
      assert.deepStrictEqual(cuda.numTokensPerRank ?? right, right);
    });

    for (const call of [
      'cudaMallocFromPoolAsync',
      'cudaStreamCreateWithPriority',
      'cudaMemsetAsync',
      'cudaLaunchKernelExC',
    ]) {
      it(`${call} out of memory: auto falls back, and cuda reports it`, () => {
        const { auto, cuda, again, described } = late(`${call}=2@1`);
        assert.deepStrictEqual(auto, { device: 'wasm', numTokensPerRank: right });
        for (const attempt of [cuda, again]) {
          assert.strictEqual(attempt.code, 'OUT_OF_MEMORY');
          assert.strictEqual(attempt.name, 'CudaError');
          assert.match(
            attempt.message ?? '',
            /memory of the GPU is full \(.*cudaErrorMemoryAllocation\)\. Dispose of tensors/,
          );
        }
        assert.isTrue(described.available);
      });
    }

    it('a launch that fails: the error names the call, and the next one works', () => {
      const { auto, cuda, again } = find({ PROBE_FIRST: '1', LATE_FAULT: 'cudaLaunchKernelExC=701!@2' });
      assert.deepStrictEqual(auto, { device: 'cuda', numTokensPerRank: right });
      assert.strictEqual(cuda.code, 'CUDA_ERROR');
      assert.match(cuda.message ?? '', /launch_dispatch_layout failed: cudaErrorLaunchOutOfResources \(701\)/);
      assert.match(cuda.message ?? '', /stays usable/);
      assert.deepStrictEqual(again.numTokensPerRank, right);
    });

    it('a kernel that breaks the context: auto falls back, and cuda is unavailable from then on and says so', () => {
      const { auto, cuda, again, tensor, described } = late('cudaEventSynchronize=700*@1');
      assert.deepStrictEqual(auto, { device: 'wasm', numTokensPerRank: right });
      assert.isFalse(described.available);
      assert.strictEqual(described.code, 'CONTEXT_LOST');
      assert.match(described.reason, /lost its CUDA context \(cudaEventSynchronize: cudaErrorIllegalAddress\)/);
      assert.match(described.remedy ?? '', /Restart/);
      for (const attempt of [cuda, again, tensor]) {
        assert.strictEqual(attempt.code, 'DEVICE_UNAVAILABLE');
        assert.match(attempt.message ?? '', /lost its CUDA context/);
      }
    });

    it('the error that breaks the context is fatal, and says what to do', () => {
      const { stdout } = runScript(
        `
        import { ExpertGroup } from 'dispatch-layout';
        const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
        process.env.FAKE_CUDA_FAULT = 'cudaEventSynchronize=719*@1';
        for (let call = 0; call < 2; call++) {
          try {
            group.getDispatchLayout([[0]], 8);
          } catch (error) {
            console.log(error.name, error.code, error.isFatal ?? '-', error.message);
          }
        }`,
        { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon() },
      );
      const [first, second] = stdout.trim().split('\n');
      assert.match(
        first,
        /^CudaError CUDA_ERROR true cudaEventSynchronize failed: cudaErrorLaunchFailure \(719\).*restart the process/,
      );
      assert.match(second, /lost its CUDA context|context is lost/);
    });

    it('auto goes on after events that were lost with the GPU', () => {
      const { stdout, stderr } = runScript(
        `
        import { ExpertGroup } from 'dispatch-layout';
        const group = new ExpertGroup({ numRanks: 4 });
        const ids = { data: new Int32Array(64).fill(1), shape: [32, 2] };
        const previousEvent = group.getDispatchLayout(ids, 8, { asyncFinish: true }).event;
        process.env.FAKE_CUDA_FAULT = 'cudaLaunchKernelExC=700*@1';
        for (const topkIdx of [ids, [[1, 1]]]) {
          const { device, numTokensPerExpert } = group.getDispatchLayout(topkIdx, 8, { previousEvent });
          console.log(device, numTokensPerExpert[1]);
        }
        await group.capture().wait();
        console.log('captured');`,
        { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), DISPATCH_LAYOUT_CUDA_CROSSOVER: '0' },
      );
      assert.strictEqual(stdout.trim(), 'wasm 64\nwasm 2\ncaptured', stderr);
    });

    it('an event that a group for cuda captures after the context was lost says so', () => {
      const { stdout, stderr } = runScript(
        `
        import { ExpertGroup } from 'dispatch-layout';
        const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
        group.getDispatchLayout([[1]], 8);
        process.env.FAKE_CUDA_FAULT = 'cudaLaunchKernelExC=700*@1';
        try { group.getDispatchLayout([[1]], 8); } catch {}
        try { await group.capture().wait(); } catch (error) { console.log(error.code); }`,
        { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon() },
      );
      assert.strictEqual(stdout.trim(), 'CUDA_ERROR', stderr);
    });

    it('a chain of asynchronous layouts of host arrays keeps nothing of the layouts that are over', () => {
      const { stdout, stderr } = runScript(
        `
        import { ExpertGroup } from 'dispatch-layout';
        const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
        const inputs = [];
        const events = [];
        let previousEvent;
        for (let call = 0; call < 30; call++) {
          const data = new Int32Array(1024);
          inputs.push(new WeakRef(data));
          const { event } = group.getDispatchLayout({ data, shape: [512, 2] }, 8, { previousEvent, asyncFinish: true });
          if (call % 2 === 0) await event.wait();
          if (call % 10 === 0) events.push(event);
          previousEvent = event;
        }
        await previousEvent.wait();
        for (let turn = 0; turn < 3; turn++) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          gc();
        }
        console.log(inputs.filter((input) => input.deref() !== undefined).length <= 1, events.length);`,
        { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon() },
        ['--expose-gc'],
      );
      assert.strictEqual(stdout.trim(), 'true 3', stderr);
    });

    it('alternating numbers of experts allocate nothing new', () => {
      const { stdout, stderr } = runScript(
        `
        import { ExpertGroup } from 'dispatch-layout';
        const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
        const run = (numExperts) => group.getDispatchLayout([[3]], numExperts).numTokensPerRank.join();
        run(8);
        run(16);
        process.env.FAKE_CUDA_FAULT = 'cudaMemsetAsync=2@1';
        console.log(run(8), run(16), run(8));`,
        { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon() },
      );
      assert.strictEqual(stdout.trim(), '0,1,0,0 1,0,0,0 0,1,0,0', stderr);
    });

    it('auto sends large host arrays to a GPU that is in use, unless the tables are too large for it', () => {
      const { stdout, stderr } = runScript(
        `
        import { ExpertGroup } from 'dispatch-layout';
        import { DeviceTensor } from 'dispatch-layout/cuda';
        const group = new ExpertGroup({ numRanks: 8 });
        const ids = { data: new Int32Array(2 ** 18), shape: [2 ** 15, 8] };
        const devices = [group.getDispatchLayout(ids, 8).device];
        DeviceTensor.from(new Int32Array(4));
        for (const numExperts of [8, 16000]) devices.push(group.getDispatchLayout(ids, numExperts).device);
        console.log(devices.join());`,
        { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon() },
      );
      assert.strictEqual(stdout.trim(), 'wasm,cuda,wasm', stderr);
    });

    it('a promise for work that breaks the context is rejected, and does not hang', () => {
      const { stdout, status } = runScript(
        `
        import { Stream } from 'dispatch-layout/cuda';
        const event = new Stream().record();
        process.env.FAKE_CUDA_FAULT = 'cudaEventQuery=700*@1';
        await event.wait().catch((error) => console.log(error.code));`,
        { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon() },
      );
      assert.strictEqual(status, 0);
      assert.strictEqual(stdout.trim(), 'CUDA_ERROR');
    });
  });

  describe('teardown', () => {
    const nothingLeft = 'fake CUDA: live streams 0, events 0, pools 0, pinned 0, allocations 0';

    it('everything is released when the process ends, even if it was not disposed of', () => {
      const { stderr, status } = runScript(
        `
        import { ExpertGroup } from 'dispatch-layout';
        import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
        const group = new ExpertGroup({ numRanks: 4, placement: [3, 2, 1, 0] });
        globalThis.kept = [];
        for (let call = 0; call < 20; call++) {
          const topkIdx = new Stream().run(() => {
            const topkIdx = DeviceTensor.from(Int32Array.of(0, 1, 2, 3), [2, 2]);
            kept.push(group.getDispatchLayout(topkIdx, 4, { asyncFinish: true }));
            return topkIdx;
          });
          kept.push(topkIdx, DeviceTensor.empty([5], 'int32', { shareable: true }), topkIdx.toTypedArrayAsync());
        }`,
        { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), FAKE_CUDA_REPORT: '1' },
      );
      assert.strictEqual(status, 0, stderr);
      assert.include(stderr, nothingLeft);
    });

    it('everything is released of workers that are terminated at any moment', () => {
      const { stderr, stdout, status } = runScript(
        `
        import { once } from 'node:events';
        import { Worker } from 'node:worker_threads';
        const code = \`
          import { ExpertGroup } from 'dispatch-layout';
          import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
          import { parentPort } from 'node:worker_threads';
          const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
          const kept = [];
          for (let call = 0; ; call++) {
            new Stream().run(() => {
              const topkIdx = DeviceTensor.from(Int32Array.of(0, 1, 2, 3), [2, 2]);
              kept.push(topkIdx, group.getDispatchLayout(topkIdx, 4, { asyncFinish: true }));
            });
            if (call === 1) parentPort.postMessage('ready');
            if (call % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
            if (kept.length > 20) for (const each of kept.splice(0, 10)) each[Symbol.dispose]();
          }\`;
        let ended = 0;
        for (let round = 0; round < 12; round++) {
          const worker = new Worker(code, { eval: true, execArgv: ['--input-type=module'] });
          worker.on('error', (error) => console.error(error));
          await once(worker, 'message');
          await new Promise((resolve) => setTimeout(resolve, round * 3));
          await worker.terminate();
          ended++;
        }
        console.log(ended);`,
        { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), FAKE_CUDA_REPORT: '1' },
      );
      assert.strictEqual(status, 0, stderr);
      assert.strictEqual(stdout.trim(), '12', stderr);
      assert.include(stderr, nothingLeft);
    });

    it('unreachable objects that were not disposed of are collected', () => {
      const { stdout, stderr } = runScript(
        `
        import { ExpertGroup } from 'dispatch-layout';
        import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
        const rss = () => Math.round(process.memoryUsage().rss / 2 ** 20);
        const run = async (calls) => {
          for (let call = 0; call < calls; call++) {
            const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
            const topkIdx = DeviceTensor.empty([100_000, 2], 'int64');
            group.getDispatchLayout([[0, 1]], 8);
            if (call % 20 === 0) { gc(); await new Promise((resolve) => setImmediate(resolve)); }
          }
        };
        await run(100);
        const before = rss();
        await run(500);
        console.log(rss() - before);`,
        { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon() },
        ['--expose-gc'],
      );
      // 500 tensors would take 800 MB.
      assert.isBelow(Number(stdout), 150, stderr);
    });
  });

  it('importing touches nothing, and neither do layouts of host arrays with auto', () => {
    const { stdout, status } = runScript(
      `
      import { getDispatchLayout } from 'dispatch-layout';
      import 'dispatch-layout/cuda';
      getDispatchLayout([[0]], 8, { numRanks: 4 });
      console.log(process.report.getReport().sharedObjects.filter((path) => path.includes('dispatch_layout')).length);`,
      { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon() },
    );
    assert.strictEqual(status, 0);
    assert.strictEqual(stdout.trim(), '0');
  });
});
