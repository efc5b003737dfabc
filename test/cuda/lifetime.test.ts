/** How long streams and memory live, and how the event loop waits, on the fake GPU. */
import { assert } from 'chai';
import { printedBy, runScript } from '../support/run-script.ts';
import { fakeAddon, otherLibrary } from './fake.ts';

const prelude = `
  import { createRequire } from 'node:module';
  import { describeDevices, ExpertGroup } from 'dispatch-layout';
  import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
  const attempt = (use) => {
    try { return use(); } catch (error) { return error.code + ': ' + error.message; }
  };
  const other = () => createRequire(process.cwd() + '/')(process.env.OTHER_LIBRARY);
  const collect = async () => {
    for (let turn = 0; turn < 3; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      gc();
    }
  };
  const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const group = new ExpertGroup({ numRanks: 8, device: 'cuda' });
  const ids = (numTokens) => DeviceTensor.from(new Int32Array(numTokens * 8), [numTokens, 8]);`;

/** What a script prints, and what the fake GPU reports of the process. */
function run(script: string, env: Readonly<Record<string, string>> = {}): { stdout: string[]; report: string } {
  const settings = { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), OTHER_LIBRARY: otherLibrary(), FAKE_CUDA_REPORT: '1' };
  const { status, stdout, stderr } = runScript(prelude + script, { ...settings, ...env }, ['--expose-gc']);
  assert.strictEqual(status, 0, stderr);
  return { stdout: stdout.trim().split('\n'), report: stderr };
}

/** A number of the report of the fake GPU. */
function reported(report: string, what: RegExp): number {
  return Number(what.exec(report)?.[1]);
}

describe('the lifetime of what is on the GPU', function () {
  this.timeout(120_000);

  const users: readonly [string, string][] = [
    ['compute layouts of one tensor', 'stream.run(() => group.getDispatchLayout(topkIdx, 64, { out }));'],
    [
      'compute asynchronous layouts',
      'stream.run(() => group.getDispatchLayout(topkIdx, 64, { out, asyncFinish: true }));',
    ],
    ['copy one tensor to the host', 'stream.run(() => topkIdx.toTypedArray());'],
    ['are recorded for one tensor', 'topkIdx.recordStream(stream);'],
    ['make tensors that are kept', 'kept.push(stream.run(() => ids(4)));'],
  ];
  for (const [what, use] of users) {
    it(`2,000 streams that ${what} in turn leave a handful`, () => {
      const { report } = run(`
        const topkIdx = ids(64);
        const out = group.getDispatchLayout(topkIdx, 64);
        const kept = [];
        for (let call = 0; call < 2000; call++) {
          const stream = new Stream();
          ${use}
          if (call % 50 === 0) await collect();
        }`);
      // Fifty are made before each collection, and the engine may keep some for another round
      assert.isBelow(reported(report, /most streams (\d+)/), 250, report);
    });
  }

  it('communication streams of groups that are gone do not live on in the tensors that they used', () => {
    const { report } = run(`
      const topkIdx = ids(64);
      const out = group.getDispatchLayout(topkIdx, 64);
      for (let call = 0; call < 500; call++) {
        new ExpertGroup({ numRanks: 8, device: 'cuda' }).getDispatchLayout(topkIdx, 64, { out, asyncFinish: true });
        if (call % 50 === 0) await collect();
      }`);
    assert.isBelow(reported(report, /most streams (\d+)/), 250, report);
  });

  it('a stream that is gone is still waited for before memory that it used is given back', () => {
    const { stdout } = run(`
      for (const record of [false, true]) {
        const topkIdx = DeviceTensor.from(new Int32Array(512).fill(63), [64, 8]);
        process.env.FAKE_CUDA_SLOW = '60';
        let event;
        await (async () => {
          const stream = new Stream();
          if (record) topkIdx.recordStream(stream);
          event = stream.run(() => {
            const slow = new ExpertGroup({ numRanks: 8, device: 'cuda' });
            slow.getDispatchLayout(topkIdx, 64, { asyncFinish: true });
            const layout = slow.getDispatchLayout(topkIdx, 64, { asyncFinish: true });
            globalThis.counts = layout.numTokensPerExpert;
            return layout.event;
          });
        })();
        await collect();
        topkIdx.dispose();
        process.env.FAKE_CUDA_SLOW = '0';
        const others = [1, 2, 3].map(() => DeviceTensor.from(new Int32Array(512).fill(1), [64, 8]));
        await event.wait();
        console.log(counts.toTypedArray()[63], others.length);
      }`);
    assert.deepStrictEqual(stdout, ['512 3', '512 3']);
  });

  it('the communication stream has a high priority, other streams do not, and it can be used', () => {
    const { stdout, report } = run(`
      const stream = new Stream();
      const { communicationStream } = group;
      console.log(communicationStream instanceof Stream, communicationStream === group.communicationStream);
      process.env.FAKE_CUDA_SLOW = '50';
      const { event } = group.getDispatchLayout(ids(64), 64, { asyncFinish: true });
      communicationStream.synchronize();
      console.log(event.done, communicationStream.device);
      console.log(attempt(() => new ExpertGroup({ numRanks: 8, device: 'wasm' }).communicationStream));
      console.log(new ExpertGroup({ numRanks: 8 }).communicationStream.device);`);
    assert.deepStrictEqual(stdout, [
      'true true',
      'true cuda',
      "OPTION: the group's device is 'wasm'. Only a group with device: 'cuda' or 'auto' has streams.",
      'cuda',
    ]);
    // One of the self-check, and those of the two groups on the GPU
    assert.strictEqual(reported(report, /high-priority streams \d+ of (\d+)/), 3, report);
  });

  it('counts can be kept without the mask', () => {
    const { stdout } = run(`
      const [numTokens, numRanks] = [2 ** 13, 2048];
      const topkIdx = DeviceTensor.from(new Int32Array(numTokens), [numTokens, 1]);
      const wide = new ExpertGroup({ numRanks, device: 'cuda' });
      const kept = [];
      const rss = () => process.memoryUsage().rss / 2 ** 20;
      for (let call = 0; call < 8; call++) {
        const layout = wide.getDispatchLayout(topkIdx, numRanks);
        kept.push(layout.numTokensPerRank, layout.numTokensPerExpert);
        layout.isTokenInRank.dispose();
        await Stream.current.wait();
        if (call === 1) globalThis.before = rss();
      }
      console.log(Math.round(rss() - before), kept.at(-2).toTypedArray()[0]);`);
    const [growth, count] = stdout[0].split(' ').map(Number);
    // Each mask has 16 MiB
    assert.isBelow(growth, 50);
    assert.strictEqual(count, 2 ** 13);
  });

  it('waiting for the GPU leaves the event loop alone', () => {
    const { stdout, report } = run(`
      const { eventLoopUtilization } = performance;
      // The timer is only a safety net, so it must not be what ends the wait
      globalThis.setInterval = (action, milliseconds) => setTimeout(() => {}, 30_000);
      globalThis.clearInterval = (timer) => clearTimeout(timer);
      const topkIdx = ids(64);
      group.getDispatchLayout(topkIdx, 64, { invalidExperts: 'ignore' });
      await Stream.current.wait();
      process.env.FAKE_CUDA_SLOW = '300';
      const before = eventLoopUtilization();
      const wait = { asyncFinish: true, invalidExperts: 'ignore' };
      const { event, numTokensPerRank } = group.getDispatchLayout(topkIdx, 64, wait);
      event.currentStreamWait();
      await Promise.all([event.wait(), numTokensPerRank.toTypedArrayAsync(), Stream.current.wait()]);
      console.log(event.done, eventLoopUtilization(before).utilization < 0.3);`);
    assert.deepStrictEqual(stdout, ['true true']);
    assert.isBelow(reported(report, /event queries (\d+)/), 40, report);
  });

  it('a wait ends with an error if the context is lost in the meantime, when the driver calls nobody', () => {
    const { stdout } = run(`
      const topkIdx = ids(64);
      process.env.FAKE_CUDA_SLOW = '200';
      const { event } = group.getDispatchLayout(topkIdx, 64, { asyncFinish: true });
      const failure = event.wait().then(() => 'none', (error) => error.code);
      process.env.FAKE_CUDA_FAULT = 'cudaEventQuery=700*@1';
      console.log(await failure);`);
    assert.deepStrictEqual(stdout, ['CUDA_ERROR']);
  });

  it('a wait keeps the process alive, and a worker can be terminated during one', () => {
    const { stdout } = run(`
      import { once } from 'node:events';
      import { Worker } from 'node:worker_threads';
      process.env.FAKE_CUDA_SLOW = '30';
      const code = \`
        import { ExpertGroup } from 'dispatch-layout';
        import { parentPort } from 'node:worker_threads';
        const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
        const waits = [1, 2, 3].map(() => group.getDispatchLayout([[0, 1]], 4, { asyncFinish: true }).event.wait());
        parentPort.postMessage('waiting');
        await Promise.all(waits);\`;
      for (let round = 0; round < 6; round++) {
        const worker = new Worker(code, { eval: true, execArgv: ['--input-type=module'] });
        await once(worker, 'message');
        await new Promise((resolve) => setTimeout(resolve, round * 15));
        await worker.terminate();
      }
      group.getDispatchLayout(ids(64), 64, { asyncFinish: true }).event.wait().then(() => console.log('waited'));`);
    assert.deepStrictEqual(stdout, ['waited']);
  });

  it('one wait after the other needs one stream, and waits at the same time do not wait for each other', () => {
    const { stdout, report } = run(`
      const library = other();
      const failing = new Stream();
      library.sleepOnStream(failing.handle, 50);
      process.env.FAKE_CUDA_FAULT = 'cudaLaunchHostFunc=2@1';
      await Promise.all(Array.from({ length: 20 }, () => failing.wait()));
      process.env.FAKE_CUDA_FAULT = '';
      // The timer is only a safety net, so it must not be what ends the waits
      globalThis.setInterval = (action, milliseconds) => setTimeout(() => {}, 30_000);
      globalThis.clearInterval = (timer) => clearTimeout(timer);
      const wait = (stream, milliseconds) => {
        library.sleepOnStream(stream.handle, milliseconds);
        return stream.wait();
      };
      const [slow, fast] = [new Stream(), new Stream()];
      for (let call = 0; call < 40; call++) await wait(slow, 2);
      await Promise.all([wait(slow, 20), wait(fast, 20)]);
      const order = [];
      await Promise.all([wait(slow, 400).then(() => order.push('slow')), wait(fast, 20).then(() => order.push('fast'))]);
      console.log(order.join());`);
    assert.deepStrictEqual(stdout, ['fast,slow']);
    assert.isBelow(reported(report, /most streams (\d+)/), 12, report);
  });

  it('a thousand waits at the same time need a few dozen streams', () => {
    const { stdout, report } = run(`
      const stream = new Stream();
      other().sleepOnStream(stream.handle, 100);
      const waits = await Promise.all(Array.from({ length: 1000 }, () => stream.wait()));
      console.log(waits.length);`);
    assert.deepStrictEqual(stdout, ['1000']);
    assert.isBelow(reported(report, /most streams (\d+)/), 50, report);
  });

  for (const [title, milliseconds, pause, rest] of [
    ['when the worker that waited has ended', 300, 0, 'await Promise.all(waits);'],
    [
      'while the worker that waits is busy, and then ends',
      20,
      100,
      'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);',
    ],
  ]) {
    it(`the driver may call back ${title}`, () => {
      const { stdout } = run(`
        import { once } from 'node:events';
        import { Worker } from 'node:worker_threads';
        const code = \`
          import { createRequire } from 'node:module';
          import { Stream } from 'dispatch-layout/cuda';
          import { parentPort } from 'node:worker_threads';
          const stream = new Stream();
          createRequire(process.cwd() + '/')(process.env.OTHER_LIBRARY).sleepOnStream(stream.handle, ${milliseconds});
          const waits = [1, 2, 3].map(() => stream.wait());
          parentPort.postMessage('waiting');
          ${rest}\`;
        const workers = [1, 2, 3].map(() => new Worker(code, { eval: true, execArgv: ['--input-type=module'] }));
        await Promise.all(workers.map((worker) => once(worker, 'message')));
        await sleep(${pause});
        await Promise.all(workers.map((worker) => worker.terminate()));
        await sleep(400);
        await Stream.current.wait();
        console.log('waited');`);
      assert.deepStrictEqual(stdout, ['waited']);
    });
  }

  it('a worker that ends leaves the work that it has queued as it is', () => {
    const { stdout } = run(`
      import { once } from 'node:events';
      import { Worker } from 'node:worker_threads';
      const target = DeviceTensor.from(new Int32Array(64));
      Stream.current.synchronize();
      const code = \`
        import { createRequire } from 'node:module';
        import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
        import { parentPort, workerData } from 'node:worker_threads';
        const library = createRequire(process.cwd() + '/')(process.env.OTHER_LIBRARY);
        const stream = new Stream();
        library.sleepOnStream(stream.handle, 200);
        const tensor = stream.run(() => DeviceTensor.from(new Int32Array(64).fill(7)));
        library.copyOnStream(workerData, tensor.pointer, 256, stream.handle);
        parentPort.postMessage('queued');
        setInterval(() => tensor.pointer, 1000);\`;
      const workerData = target.pointer;
      const worker = new Worker(code, { eval: true, execArgv: ['--input-type=module'], workerData });
      await once(worker, 'message');
      await worker.terminate();
      await sleep(300);
      console.log(target.toTypedArray().every((value) => value === 7));`);
    assert.deepStrictEqual(stdout, ['true']);
  });

  it('the tables of a group are ready before its first layout, however long it takes to copy them', () => {
    const { stdout } = run(`
      const topkIdx = ids(64);
      Stream.current.synchronize();
      process.env.FAKE_CUDA_SLOW_COPIES = '50';
      const placed = new ExpertGroup({ numRanks: 8, placement: [5, 1, 2, 3, 4, 0, 6, 7], device: 'cuda' });
      const layout = placed.getDispatchLayout(topkIdx, 8, { invalidExperts: 'ignore' });
      console.log(layout.numTokensPerRank.toTypedArray().join());`);
    assert.deepStrictEqual(stdout, ['0,0,0,0,0,64,0,0']);
  });

  it('memory and streams are given back that graphs have used, or that were disposed of during their captures', () => {
    const { stdout, report } = run(`
      const library = other();
      const handle = library.createStream(false);
      const stream = Stream.fromHandle(handle);
      const topkIdx = ids(64);
      Stream.current.synchronize();
      const options = { invalidExperts: 'ignore' };
      for (let round = 0; round < 12; round++) {
        const [out, tensor] = stream.run(() => [group.getDispatchLayout(topkIdx, 64, options), ids(64)]);
        const recorded = ids(64);
        recorded.recordStream(stream);
        stream.synchronize();
        library.beginCapture(handle, 'global');
        stream.run(() => group.getDispatchLayout(topkIdx, 64, { ...options, out }));
        (() => {
          const [own, view] = [new ExpertGroup({ numRanks: 8, device: 'cuda' }), topkIdx.strided([64, 8], [8, 1])];
          stream.run(() => own.getDispatchLayout(view, 64, { ...options, out }));
        })();
        await collect();
        for (const each of [out, tensor, recorded]) each[Symbol.dispose]();
        if (library.captureStatus(handle) !== 'active') console.log('spoilt');
        library.destroyGraph(library.endCapture(handle));
      }
      // It is given back with the next allocation
      globalThis.next = ids(64);
      console.log('done');
      process.reallyExit(0);`);
    assert.deepStrictEqual(stdout, ['done']);
    assert.isBelow(reported(report, /allocations (\d+)/), 8, report);
    assert.isBelow(reported(report, /high-priority streams (\d+)/), 4, report);
  });

  it('memory is given back that graphs have used which outlive the worker that captured them', () => {
    const { stdout, report } = run(`
      const { Worker } = await import('node:worker_threads');
      const { once } = await import('node:events');
      const library = other();
      const code = \`
        import { createRequire } from 'node:module';
        import { ExpertGroup } from 'dispatch-layout';
        import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
        import { parentPort, workerData } from 'node:worker_threads';
        const library = createRequire(process.cwd() + '/')(process.env.OTHER_LIBRARY);
        const { topkIdx, perRank, perExpert } = workerData;
        const tensor = DeviceTensor.fromPointer(topkIdx, [64, 8], 'int32');
        const out = {
          numTokensPerRank: DeviceTensor.fromPointer(perRank, [8], 'int32'),
          numTokensPerRdmaRank: null,
          numTokensPerExpert: DeviceTensor.fromPointer(perExpert, [64], 'int32'),
          isTokenInRank: null,
        };
        const group = new ExpertGroup({ numRanks: 8, device: 'cuda' });
        const handle = library.createStream(false);
        library.beginCapture(handle, 'global');
        const options = { invalidExperts: 'ignore', mask: 'none', out };
        Stream.fromHandle(handle).run(() => group.getDispatchLayout(tensor, 64, options));
        parentPort.postMessage({ graph: library.endCapture(handle), handle });\`;
      const topkIdx = ids(64);
      const out = group.getDispatchLayout(topkIdx, 64, { mask: 'none' });
      Stream.current.synchronize();
      const { numTokensPerRank, numTokensPerExpert } = out;
      const workerData = {
        topkIdx: topkIdx.pointer,
        perRank: numTokensPerRank.pointer,
        perExpert: numTokensPerExpert.pointer,
      };
      for (let i = 0; i < 3; i++) {
        const worker = new Worker(code, { eval: true, execArgv: ['--input-type=module'], workerData });
        const [[{ graph, handle }]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
        library.launchGraph(graph, handle);
        library.synchronizeStream(handle);
        console.log(numTokensPerExpert.toTypedArray()[0]);
        library.destroyGraph(graph);
        library.destroyStream(handle);
      }
      // It is given back with the next allocation
      globalThis.next = ids(64);
      process.reallyExit(0);`);
    assert.deepStrictEqual(stdout, ['512', '512', '512']);
    assert.strictEqual(reported(report, /pools (\d+)/), 1, report);
  });

  it('memory of somebody else must be as large as its tensor', () => {
    const { stdout } = run(`
      const library = other();
      const pointer = library.malloc(4096);
      console.log(DeviceTensor.fromPointer(pointer, [1024], 'int32').size);
      console.log(attempt(() => DeviceTensor.fromPointer(pointer, [1025], 'int32')));
      console.log(attempt(() => DeviceTensor.fromPointer(pointer + 4088n, [2], 'int64')));
      console.log(attempt(() => DeviceTensor.fromPointer(64n, [2], 'int64')));
      const handle = library.ipcHandle(pointer);
      console.log(DeviceTensor.fromIpcHandle(handle, [512], 'int32', { byteOffset: 2048 }).size);
      console.log(attempt(() => DeviceTensor.fromIpcHandle(handle, [513], 'int32', { byteOffset: 2048 })));`);
    const remedy = 'Correct the shape, the type or the address.';
    assert.deepStrictEqual(stdout, [
      '1024',
      `TENSOR: the tensor has 4100 bytes, and only 4096 are allocated there. ${remedy}`,
      `TENSOR: the tensor has 16 bytes, and only 8 are allocated there. ${remedy}`,
      'TENSOR: 0x40 is no memory that CUDA knows. Pass the address of device memory of this process; that of another process goes through fromIpcHandle.',
      '512',
      `TENSOR: the tensor has 2052 bytes from byte 2048 on, and only 2048 are allocated there. ${remedy}`,
    ]);
  });

  it('memory in several pieces, as in the expandable segments of PyTorch, is one', () => {
    const { stdout } = run(
      `
      const pointer = other().malloc(10_000);
      console.log(DeviceTensor.fromPointer(pointer, [2500], 'int32').size);
      console.log(attempt(() => DeviceTensor.fromPointer(pointer, [2501], 'int32')));`,
      { FAKE_CUDA_MEMORY_CHUNK: '4096' },
    );
    assert.strictEqual(stdout[0], '2500');
    assert.match(stdout[1], /^TENSOR: the tensor has 10004 bytes, and only 10000 are/);
  });

  it('memory of others that happens to be the next is not a part of it', () => {
    const { stdout } = run(
      `
      const library = other();
      for (const pointer of [library.malloc(10_000), library.mallocFromPool(library.createPool(), 10_000, 0n)]) {
        console.log(DeviceTensor.fromPointer(pointer, [1024], 'int32').size);
        console.log(attempt(() => DeviceTensor.fromPointer(pointer, [1025], 'int32')));
      }`,
      { FAKE_CUDA_MEMORY_NEIGHBORS: '4096' },
    );
    for (const first of [0, 2]) {
      assert.strictEqual(stdout[first], '1024');
      assert.match(stdout[first + 1], /^TENSOR: the tensor has 4100 bytes, and only 4096 are/);
    }
  });

  it("a handle of PyTorch's expandable segments is refused with the reason", () => {
    const { stdout } = run(`
      const handle = new Uint8Array(80);
      handle[1] = 'e'.charCodeAt(0);
      console.log(attempt(() => DeviceTensor.fromIpcHandle(handle, [2], 'int32')));`);
    assert.match(stdout[0], /^TENSOR: PyTorch has this memory in expandable segments.*PYTORCH_CUDA_ALLOC_CONF/);
  });

  it('without memory pools everything works, and doctor says that it is slower', () => {
    const { stdout } = run(
      `
      const layout = group.getDispatchLayout(ids(64), 64);
      console.log(layout.numTokensPerExpert.toTypedArray()[0], describeDevices()[0].reason);`,
      { FAKE_CUDA_POOLS: '0' },
    );
    assert.match(stdout[0], /^512 fake GPU .*, without memory pools, so that disposing of a tensor waits for the GPU;/);
  });
});

describe('the first use of the GPU', function () {
  this.timeout(60_000);

  it('may come while another library captures a graph, even if that forbids the default stream', () => {
    const lines = printedBy(
      `
      import { createRequire } from 'node:module';
      import { ExpertGroup } from 'dispatch-layout';
      import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
      const library = createRequire(process.cwd() + '/')(process.env.OTHER_LIBRARY);
      const handle = library.createStream(true);
      const stream = Stream.fromHandle(handle);
      const host = { data: new Int32Array(512).fill(3), shape: [64, 8] };
      library.beginCapture(handle, 'global');
      const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
      const auto = new ExpertGroup({ numRanks: 4 });
      console.log(group.getDispatchLayout(host, 8).device, auto.getDispatchLayout(host, 8).device);
      // A layout that is ordered behind the capture cannot be one of the GPU
      const behind = stream.run(() => auto.getDispatchLayout(host, 8, { asyncFinish: true }));
      await behind.event.wait();
      console.log(behind.device, behind.numTokensPerRank.join());
      console.log(library.captureStatus(handle));
      library.destroyGraph(library.endCapture(handle));
      console.log(auto.getDispatchLayout(host, 8).device, group.getDispatchLayout(host, 8).numTokensPerRank.join());`,
      {
        DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(),
        OTHER_LIBRARY: otherLibrary(),
        DISPATCH_LAYOUT_CUDA_CROSSOVER: '100',
      },
    ).split('\n');
    assert.deepStrictEqual(lines, ['cuda cuda', 'wasm 0,64,0,0', 'active', 'cuda 0,64,0,0']);
  });
});
