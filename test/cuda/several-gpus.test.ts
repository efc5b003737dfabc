/** Several GPUs in one process, on the fake driver: each has a name, and other libraries do not notice that we use it. */
import { execFileSync } from 'node:child_process';
import { assert } from 'chai';
import { root } from '../support/root.ts';
import { printedBy, runScript } from '../support/run-script.ts';
import { fakeAddon, otherLibrary } from './fake.ts';

const twoGpus = { FAKE_CUDA_DEVICES: '2', FAKE_CUDA_NAMES: 'first GPU,second GPU' };
const prelude = `
  import { createRequire } from 'node:module';
  import { describeDevices, ExpertGroup, getDispatchLayout } from 'dispatch-layout';
  import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
  const attempt = (use) => {
    try { return use(); } catch (error) { return error.code + ': ' + error.message; }
  };
  const other = () => createRequire(process.cwd() + '/')(process.env.OTHER_LIBRARY);
  const ids = Int32Array.of(0, 1, 2, 7, -1, 5);
  const host = { data: ids, shape: [3, 2] };
  const on = (device) => DeviceTensor.from(ids, [3, 2], { device });
  const legal = { invalidExperts: 'ignore' };
  const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));`;

function environment(env: Readonly<Record<string, string>>): Record<string, string> {
  return { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), OTHER_LIBRARY: otherLibrary(), ...twoGpus, ...env };
}

/** The lines that a script prints. */
function run(script: string, env: Readonly<Record<string, string>> = {}): string[] {
  return printedBy(prelude + script, environment(env), ['--expose-gc']).split('\n');
}

/** The ordinals of the GPUs on which a script has made a context. */
function contextsOf(script: string): string {
  const { status, stderr } = runScript(prelude + script, environment({ FAKE_CUDA_REPORT: '1' }), ['--expose-gc']);
  assert.strictEqual(status, 0, stderr);
  return /contexts ([\d,]*)/.exec(stderr)?.[1] ?? stderr;
}

describe('several GPUs', function () {
  this.timeout(60_000);

  it('are described, each with the option that chooses it', () => {
    const [line] = run('console.log(JSON.stringify(describeDevices()[0]));');
    const { device, reason, gpus } = JSON.parse(line) as { device: string; reason: string; gpus: readonly object[] };
    assert.strictEqual(device, 'cuda');
    assert.match(reason, /^first GPU \(compute capability 9\.0\), 8 GiB, GPU 0 of 2; /);
    const each = { computeCapability: '9.0', totalMemory: 2 ** 33 };
    assert.deepStrictEqual(gpus, [
      { device: 'cuda', ordinal: 0, name: 'first GPU', ...each },
      { device: 'cuda:1', ordinal: 1, name: 'second GPU', ...each },
    ]);
  });

  it('are listed by doctor, which also says of the one that is asked for whether it works', () => {
    const doctor = (...args: string[]) =>
      execFileSync(process.execPath, ['dist/cli.js', 'doctor', ...args], {
        cwd: root,
        encoding: 'utf8',
        env: { ...process.env, ...environment({ FAKE_CUDA_CAPABILITY: '90,61' }) },
      }).replace(/\s+/g, ' ');
    assert.include(
      doctor(),
      'GPU 0 (--device cuda): first GPU, compute capability 9.0, 8 GiB GPU 1 (--device cuda:1): second GPU, which cannot be used, because second GPU (compute capability 6.1) is older than compute capability 7.5',
    );
    assert.match(doctor('--device', 'cuda:1'), /cuda:1 not available: UNSUPPORTED_GPU/);
    assert.match(doctor('--device', 'cuda:0'), /\* cuda available, chosen/);
  });

  it('each compute orders of rows, of host arrays and of tensors', () => {
    const lines = run(`
      for (const device of ['js', 'cuda', 'cuda:1']) {
        const group = new ExpertGroup({ numRanks: 4, device });
        const rows = (order) => [order.rowOfSelection, order.expertOffsets ?? order.rankOffsets]
          .map((array) => (array.toTypedArray?.() ?? array).join()).join(' ');
        const ofHost = [group.getExpertPermutation(host, 8), group.getRankPermutation(host, 8)];
        console.log(device, ...ofHost.map(rows));
        if (device === 'js') continue;
        const topkIdx = on(device);
        const ofTensor = [group.getExpertPermutation(topkIdx, 8), group.getRankPermutation(topkIdx, 8)];
        console.log(ofTensor.map(({ device }) => device).join(), ...ofTensor.map(rows));
      }`);
    const [right] = lines.map((line) => line.replace(/^js /, ''));
    assert.strictEqual(right, '0,1,2,4,-1,3 0,1,2,3,3,3,4,4,5 0,-1,1,3,-1,2 0,1,2,3,4');
    assert.deepStrictEqual(lines.slice(1), [
      `cuda ${right}`,
      `cuda,cuda ${right}`,
      `cuda:1 ${right}`,
      `cuda:1,cuda:1 ${right}`,
    ]);
  });

  it('each compute layouts of host arrays and of tensors, and say which one has', () => {
    const lines = run(`
      const right = getDispatchLayout(host, 8, { numRanks: 4, device: 'js' }).numTokensPerRank.join();
      for (const device of ['cuda', 'cuda:0', 'cuda:1']) {
        const group = new ExpertGroup({ numRanks: 4, device });
        const onHost = group.getDispatchLayout(host, 8);
        const topkIdx = on(device);
        const layout = group.getDispatchLayout(topkIdx, 8);
        const counts = layout.numTokensPerRank;
        const isRight = onHost.numTokensPerRank.join() === right && counts.toTypedArray().join() === right;
        console.log(isRight, group.device, onHost.device, topkIdx.device, layout.device, counts.device);
      }`);
    const first = 'true cuda cuda cuda cuda cuda';
    assert.deepStrictEqual(lines, [first, first, 'true cuda:1 cuda:1 cuda:1 cuda:1 cuda:1']);
  });

  it('auto computes the layout of a tensor where the tensor is', () => {
    const lines = run(`
      const group = new ExpertGroup({ numRanks: 4 });
      for (const device of ['cuda:1', 'cuda', 'cuda:1']) {
        const layout = group.getDispatchLayout(on(device), 8, { asyncFinish: true });
        await layout.event.wait();
        console.log(layout.device, layout.numTokensPerExpert.toTypedArray().join());
      }`);
    const counts = '1,1,1,0,0,1,0,1';
    assert.deepStrictEqual(lines, [`cuda:1 ${counts}`, `cuda ${counts}`, `cuda:1 ${counts}`]);
  });

  it('only the GPU that is used gets a context', () => {
    const use = `
      const layout = new ExpertGroup({ numRanks: 4, device: 'cuda:1' }).getDispatchLayout(on('cuda:1'), 8);
      await layout.numTokensPerRank.toTypedArrayAsync();
      new ExpertGroup({ numRanks: 4, device: 'cuda:1' }).getDispatchLayout(host, 8);`;
    assert.strictEqual(contextsOf(use), '1');
    assert.strictEqual(contextsOf('describeDevices("cuda:1");'), '1');
  });

  it('only the GPU gets a context that memory and streams of other code are on, or for which memory is freed', () => {
    const onTheSecond = 'const library = other(); library.setDevice(1);';
    for (const use of [
      `${onTheSecond} Stream.fromHandle(library.createStream(false)).synchronize();`,
      `${onTheSecond} DeviceTensor.fromPointer(library.malloc(64), [16], 'int32').toTypedArray();`,
      // Pinned memory of this size is freed when its garbage is collected
      `await DeviceTensor.empty([260 * 2 ** 20], 'uint8', { device: 'cuda:1' }).toTypedArrayAsync();
      await sleep(1);
      gc();
      await sleep(1);`,
      // A large host array of auto goes to the first GPU only if that is in use anyway
      `const group = new ExpertGroup({ numRanks: 4 });
      group.getDispatchLayout(on('cuda:1'), 8);
      group.getDispatchLayout({ data: new Int32Array(2 ** 18), shape: [2 ** 15, 8] }, 8);`,
      `process.env.FAKE_CUDA_FAULT = 'cuCtxPushCurrent=709@2';
      for (const shareable of [true, false]) {
        attempt(() => DeviceTensor.empty([64], 'int32', { device: 'cuda:1', shareable }));
        attempt(() => new Stream({ device: 'cuda:1' }));
      }`,
    ]) {
      assert.strictEqual(contextsOf(use), '1', use);
    }
  });

  it('tensors and groups of different GPUs are not mixed', () => {
    const lines = run(`
      const topkIdx = on('cuda:1');
      const out = getDispatchLayout(on('cuda'), 8, { numRanks: 4 });
      console.log(attempt(() => getDispatchLayout(topkIdx, 8, { numRanks: 4, out })));
      console.log(attempt(() => getDispatchLayout(topkIdx, 8, { numRanks: 4, device: 'cuda' })));
      console.log(attempt(() => getDispatchLayout(on('cuda'), 8, { numRanks: 4, device: 'cuda:1' })));`);
    assert.deepStrictEqual(lines, [
      "OUT: out.numTokensPerRank is on 'cuda', and topkIdx on 'cuda:1'. Make all tensors of a layout on one GPU.",
      "OPTION: topkIdx is on 'cuda:1', and the group's device is 'cuda'. Make the group with device: 'cuda:1', or copy the ids to the host.",
      "OPTION: topkIdx is on 'cuda', and the group's device is 'cuda:1'. Make the group with device: 'cuda', or copy the ids to the host.",
    ]);
  });

  it('a GPU that does not exist, and a name that is none, are refused everywhere', () => {
    const lines = run(`
      for (const device of ['cuda:2', 'cuda:', 'cuda:01', 'cuda:x', 7, null]) {
        console.log(attempt(() => new ExpertGroup({ numRanks: 4, device })));
        console.log(attempt(() => new Stream({ device })));
      }
      console.log(attempt(() => DeviceTensor.empty([1], 'int32', { device: 'gpu' })));`);
    const missing =
      "DEVICE_UNAVAILABLE: device 'cuda:2' is not available, because there is no GPU 2: the driver finds 2 (0: first GPU (compute capability 9.0), 1: second GPU (compute capability 9.0)). Use 'cuda' or 'cuda:0' or 'cuda:1', or check CUDA_VISIBLE_DEVICES.";
    assert.deepStrictEqual(lines.slice(0, 2), [missing, missing]);
    for (const [index, line] of lines.slice(2, -1).entries()) {
      assert.match(
        line,
        index % 2 === 0 ? /^OPTION: device is / : /^TENSOR: device is .*It must be 'cuda' or 'cuda:0'/,
      );
    }
    assert.match(lines.at(-1) ?? '', /^TENSOR: device is 'gpu'/);
  });

  for (const [title, env, reason] of [
    ['broken', { FAKE_CUDA_BROKEN_DEVICE: '0' }, /the driver reports an error for GPU 0 \(cudaGetDeviceProperties/],
    ['too old', { FAKE_CUDA_CAPABILITY: '61,90' }, /first GPU \(compute capability 6\.1\) is older/],
  ] as const) {
    it(`if the first GPU is ${title}, cuda is the second one`, () => {
      const lines = run(
        `console.log(getDispatchLayout(on(), 8, { numRanks: 4 }).device, describeDevices()[0].reason);
        console.log(attempt(() => new ExpertGroup({ numRanks: 4, device: 'cuda:0' })));`,
        env,
      );
      assert.match(lines[0], /^cuda second GPU \(compute capability 9\.0\), 8 GiB, GPU 1 of 2/);
      assert.match(lines[1], /^DEVICE_UNAVAILABLE: device 'cuda:0' is not available, because /);
      assert.match(lines[1], reason);
    });
  }

  it('a GPU that is broken and not used does no harm', () => {
    assert.match(run('console.log(describeDevices()[0].available);', { FAKE_CUDA_BROKEN_DEVICE: '1' })[0], /^true/);
  });

  it('DISPATCH_LAYOUT_DEVICE names one of them, and DISPATCH_LAYOUT_DISABLE all', () => {
    const script = 'console.log(attempt(() => getDispatchLayout(host, 8, { numRanks: 4 }).device));';
    assert.deepStrictEqual(run(script, { DISPATCH_LAYOUT_DEVICE: 'cuda:1' }), ['cuda:1']);
    const disabled = { DISPATCH_LAYOUT_DEVICE: 'cuda:1', DISPATCH_LAYOUT_DISABLE: 'cuda' };
    assert.match(
      run(script, disabled)[0],
      /^DEVICE_UNAVAILABLE: .*DISPATCH_LAYOUT_DISABLE names cuda\. Take 'cuda' out/,
    );
    for (const name of ['cuda:N', 'cuda:01']) {
      assert.match(run(script, { DISPATCH_LAYOUT_DEVICE: name })[0], /^ENVIRONMENT: /);
    }
    const tensors =
      'console.log(on().device, Stream.current.device, getDispatchLayout(on(), 8, { numRanks: 4 }).device);';
    assert.deepStrictEqual(run(tensors, { DISPATCH_LAYOUT_DEVICE: 'cuda:1' }), ['cuda:1 cuda:1 cuda:1']);
  });

  it('cuda and cuda:0 are the same, also after the context is lost', () => {
    const lines = run(`
      const topkIdx = on('cuda:0');
      const newGroups = () => ['cuda', 'cuda:0'].map((device) => new ExpertGroup({ numRanks: 4, device }));
      for (const group of newGroups()) console.log(group.device, group.getDispatchLayout(topkIdx, 8).device);
      const groups = newGroups();
      process.env.FAKE_CUDA_FAULT = 'cudaEventRecord=719*@1';
      attempt(() => Stream.default.record());
      for (const group of groups) console.log(attempt(() => group.getDispatchLayout(topkIdx, 8)));`);
    assert.deepStrictEqual(lines.slice(0, 2), ['cuda cuda', 'cuda cuda']);
    for (const line of lines.slice(2))
      assert.match(line, /^DEVICE_UNAVAILABLE: device 'cuda' .* lost its CUDA context/);
  });

  it('the current stream of each GPU is that of the innermost run with one of its streams', () => {
    const lines = run(`
      const second = new Stream({ device: 'cuda:1' });
      console.log(second.device, Stream.current.device);
      second.run(() => {
        console.log(Stream.current === second, DeviceTensor.empty([1], 'int32').device, new Stream().device);
        const first = new Stream({ device: 'cuda' });
        first.run(() => {
          // The layout runs on the second GPU, whose current stream is still the one from outside
          const layout = getDispatchLayout(on('cuda:1'), 8, { numRanks: 4 });
          console.log(Stream.current === first, layout.device, layout.numTokensPerRank.toTypedArray().join());
        });
      });
      console.log(Stream.fromHandle(0n, { device: 'cuda:1' }) !== Stream.default, Stream.fromHandle(0n) === Stream.default);`);
    assert.deepStrictEqual(lines, ['cuda:1 cuda', 'true cuda:1 cuda:1', 'true cuda:1 1,1,1,1', 'true true']);
  });

  it('streams wait for events of another GPU, on the GPU', () => {
    const lines = run(`
      process.env.FAKE_CUDA_SLOW = '100';
      const slow = new ExpertGroup({ numRanks: 4, device: 'cuda:1' });
      const previousEvent = slow.getDispatchLayout(on('cuda:1'), 8, { asyncFinish: true }).event;
      const layout = new ExpertGroup({ numRanks: 4 }).getDispatchLayout(on('cuda'), 8, { previousEvent, asyncFinish: true });
      await layout.event.wait();
      console.log(previousEvent.done, layout.numTokensPerRank.toTypedArray().join());
      new Stream({ device: 'cuda' }).run(() => previousEvent.currentStreamWait());
      previousEvent.currentStreamWait();`);
    assert.deepStrictEqual(lines, ['true 1,1,1,1']);
  });

  for (const [device, otherDevice] of [
    ['cuda', 'cuda:1'],
    ['cuda:1', 'cuda'],
  ]) {
    it(`within a run of a stream of ${otherDevice}, capture and currentStreamWait are of ${device} where that is used`, () => {
      const lines = run(`
        const [device, otherDevice] = ['${device}', '${otherDevice}'];
        const right = (layout) => layout.numTokensPerExpert.toTypedArray().join() === '1,1,1,0,0,1,0,1';
        const library = other();
        library.setDevice(device === 'cuda' ? 0 : 1);
        // The other GPU is in use first
        new Stream({ device: otherDevice });
        for (const group of [new ExpertGroup({ numRanks: 4, device }), new ExpertGroup({ numRanks: 4 })]) {
          const stream = new Stream({ device: otherDevice });
          // The ids are copied to the GPU behind this
          library.sleepOnStream(0n, 60);
          const topkIdx = on(device);
          const options = { ...legal, asyncFinish: true };
          const layout = stream.run(() =>
            group.getDispatchLayout(topkIdx, 8, { ...options, previousEvent: group.capture() }));
          await layout.event.wait();
          console.log(layout.device, right(layout));
          const busy = new Stream({ device });
          const laterLayout = () => {
            library.sleepOnStream(busy.handle, 60);
            return group.getDispatchLayout(topkIdx, 8, { ...options, previousEvent: busy.record() });
          };
          // The current streams of both GPUs wait
          const [later, last] = [laterLayout(), laterLayout()];
          stream.run(() => {
            later.event.currentStreamWait();
            console.log(right(later));
            last.event.currentStreamWait();
            stream.synchronize();
            console.log(last.event.done);
          });
        }`);
      const ofOneGroup = [`${device} true`, 'true', 'true'];
      assert.deepStrictEqual(lines, [...ofOneGroup, ...ofOneGroup]);
    });
  }

  it('in a CUDA graph that is captured, capture() of an auto group is a point in the graph', () => {
    const lines = run(`
      const library = other();
      const [topkIdx, second] = [on('cuda'), on('cuda:1')];
      const out = getDispatchLayout(DeviceTensor.from(new Int32Array(6).fill(7), [3, 2]), 8, { numRanks: 4 });
      Stream.default.synchronize();
      const group = new ExpertGroup({ numRanks: 4 });
      group.getDispatchLayout(second, 8);
      library.setDevice(0);
      const handle = library.createStream(false);
      library.beginCapture(handle, 'global');
      Stream.fromHandle(handle).run(() => {
        const previousEvent = group.capture();
        group.getDispatchLayout(topkIdx, 8, { ...legal, out, previousEvent });
      });
      const graph = library.endCapture(handle);
      const before = out.numTokensPerRank.toTypedArray().join();
      library.launchGraph(graph, handle);
      library.synchronizeStream(handle);
      console.log(before, 'then', out.numTokensPerRank.toTypedArray().join());`);
    assert.deepStrictEqual(lines, ['0,0,0,3 then 1,1,1,1']);
  });

  it('their default streams, which have the same handle, are not taken for each other', () => {
    const lines = run(`
      const library = other();
      const first = Stream.default;
      const second = Stream.fromHandle(0n, { device: 'cuda:1' });
      const on1 = (options) => DeviceTensor.from(ids, [3, 2], { device: 'cuda:1', ...options });
      const busyUntil = (stream, milliseconds) => {
        library.setDevice(stream.device === 'cuda' ? 0 : 1);
        library.sleepOnStream(stream.handle, milliseconds);
        return stream.record();
      };
      for (const recorded of [first, new Stream({ device: 'cuda' })]) {
        const tensor = on1();
        const shared = on1({ shareable: true });
        second.synchronize();
        const isBusy = busyUntil(recorded, 500);
        tensor.recordStream(recorded);
        const { pointer } = tensor;
        tensor.dispose();
        const waitsForNobody = !isBusy.done;
        await sleep(20);
        const next = new Stream({ device: 'cuda:1' }).run(() => on1());
        const isKept = next.pointer !== pointer;
        shared.recordStream(recorded);
        // This memory is not freed in the order of a stream
        shared.dispose();
        console.log(waitsForNobody, isKept, isBusy.done);
      }
      // Nothing may happen now on the default stream of the first GPU
      const tensor = on1();
      second.synchronize();
      tensor.recordStream(first);
      library.setDevice(0);
      const handle = library.createStream(true);
      library.beginCapture(handle, 'global');
      tensor.dispose();
      const unrecorded = on1();
      unrecorded.dispose();
      console.log(library.captureStatus(handle));`);
    assert.deepStrictEqual(lines, ['true true true', 'true true true', 'active']);
  });

  it('a worker gives its memory back in the right order, whichever GPU is current when it ends', () => {
    const lines = run(`
      import { once } from 'node:events';
      import { Worker } from 'node:worker_threads';
      const library = other();
      const target = DeviceTensor.from(new Int32Array(64), [64], { device: 'cuda:1' });
      await Stream.fromHandle(0n, { device: 'cuda:1' }).wait();
      const code = \`
        import { createRequire } from 'node:module';
        import { DeviceTensor } from 'dispatch-layout/cuda';
        import { parentPort, workerData } from 'node:worker_threads';
        const library = createRequire(process.cwd() + '/')(process.env.OTHER_LIBRARY);
        const tensor = DeviceTensor.from(new Int32Array(64).fill(7), [64], { device: 'cuda:1' });
        library.setDevice(1);
        library.sleepOnStream(0n, 200);
        library.copyOnStream(workerData, tensor.pointer, 256, 0n);
        library.setDevice(0);
        parentPort.postMessage('ready');
        setInterval(() => tensor.pointer, 1000);\`;
      const workerData = target.pointer;
      const worker = new Worker(code, { eval: true, execArgv: ['--input-type=module'], workerData });
      await once(worker, 'message');
      await worker.terminate();
      console.log(target.toTypedArray().every((value) => value === 7));`);
    assert.deepStrictEqual(lines, ['true']);
  });

  it('memory and streams of other code are used on the GPU that they are on', () => {
    const lines = run(`
      const library = other();
      library.setDevice(1);
      const pointer = library.malloc(24);
      library.write(pointer, ids);
      const topkIdx = DeviceTensor.fromPointer(pointer, [3, 2], 'int32');
      const stream = Stream.fromHandle(library.createStream(false));
      console.log(topkIdx.device, stream.device);
      const layout = stream.run(() => getDispatchLayout(topkIdx, 8, { numRanks: 4 }));
      console.log(layout.device, stream.run(() => layout.numTokensPerRank.toTypedArray()).join());
      console.log(attempt(() => Stream.fromHandle(stream.handle, { device: 'cuda' })));
      const shared = DeviceTensor.from(ids, [3, 2], { shareable: true, device: 'cuda:1' });
      console.log(attempt(() => DeviceTensor.fromIpcHandle(shared.ipcHandle(), [3, 2], 'int32')));
      const opened = DeviceTensor.fromIpcHandle(shared.ipcHandle(), [3, 2], 'int32', { device: 'cuda:1' });
      console.log(opened.device, opened.toTypedArray().join());`);
    assert.deepStrictEqual(lines, [
      'cuda:1 cuda:1',
      'cuda:1 1,1,1,1',
      "TENSOR: device is 'cuda'. The stream is one of 'cuda:1'.",
      "TENSOR: the memory is on 'cuda:1', and was opened for 'cuda'. Pass device: 'cuda:1'.",
      'cuda:1 0,1,2,7,-1,5',
    ]);
  });

  it('another library that changes the current GPU between calls changes nothing here, and finds its own GPU again', () => {
    const lines = run(`
      const library = other();
      const right = getDispatchLayout(host, 8, { numRanks: 4, device: 'js' }).numTokensPerRank.join();
      const wrong = [];
      let current = 0;
      const check = async (what, use) => {
        current = 1 - current;
        library.setDevice(current);
        const result = await use();
        if (library.getDevice() !== current) wrong.push(what + ' left another GPU');
        if (result !== undefined && result !== right) wrong.push(what + ' gave ' + result);
      };
      for (const device of ['cuda', 'cuda:1', 'cuda', 'cuda:1']) {
        let group, stream, topkIdx, layout, event, pending, shared;
        await check('a group', () => { group = new ExpertGroup({ numRanks: 4, device }); });
        await check('a layout of host arrays', () => group.getDispatchLayout(host, 8).numTokensPerRank.join());
        await check('one that is waited for', async () => {
          const later = group.getDispatchLayout(host, 8, { asyncFinish: true });
          await later.event.wait();
          return later.numTokensPerRank.join();
        });
        await check('a stream', () => { stream = new Stream({ device }); });
        await check('a tensor', () => { topkIdx = stream.run(() => on(device)); });
        await check('an event', () => { event = stream.record(); });
        await check('a layout', () => { layout = group.getDispatchLayout(topkIdx, 8, { previousEvent: event }); });
        await check('a copy', () => layout.numTokensPerRank.toTypedArray().join());
        await check('a copy that is waited for', async () => (await layout.numTokensPerRank.toTypedArrayAsync()).join());
        await check('an asynchronous layout', () => {
          pending = group.getDispatchLayout(topkIdx, 8, { asyncFinish: true });
        });
        await check('its event', async () => { await pending.event.wait(); });
        await check('its result', () => pending.numTokensPerRank.toTypedArray().join());
        await check('a wait of a stream', () => pending.event.currentStreamWait());
        await check('a recorded stream', () => topkIdx.recordStream(stream));
        await check('shared memory', () => { shared = on(device); });
        await check('a capture', () => { group.capture(); });
        await check('synchronize', () => stream.synchronize());
        await check('dispose', () => { for (const each of [layout, pending, topkIdx, shared]) each[Symbol.dispose](); });
        await check('the garbage collector', async () => {
          group = stream = event = undefined;
          await new Promise((resolve) => setTimeout(resolve, 1));
          gc();
          await new Promise((resolve) => setTimeout(resolve, 1));
        });
      }
      console.log(wrong.join('; ') || 'nothing');`);
    assert.deepStrictEqual(lines, ['nothing']);
  });
});
