/**
 * The addon when a call fails half-way: it protects memory that queued work still uses, and reports what the failure
 * means.
 */
import { assert } from 'chai';
import { printedBy } from '../support/run-script.ts';
import { fakeAddon, otherLibrary } from './fake.ts';

function run(script: string, env: Readonly<Record<string, string>> = {}): string {
  const imports = `
    import { createRequire } from 'node:module';
    import { describeDevices, ExpertGroup } from 'dispatch-layout';
    import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
    const fault = (setting) => { process.env.FAKE_CUDA_FAULT = setting; };
    const attempt = (use) => {
      try { use(); return 'none'; } catch (error) { return error.code + (error.isFatal ? ', fatal' : ''); }
    };
    const host = (numTokens, expert) => ({ data: new Int32Array(numTokens * 8).fill(expert), shape: [numTokens, 8] });
    const library = createRequire(process.cwd() + '/')(process.env.OTHER_LIBRARY);
    const ready = () => {
      const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
      group.getDispatchLayout(host(64, 3), 8);
      return group;
    };`;
  const addons = { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), OTHER_LIBRARY: otherLibrary() };
  return printedBy(imports + script, { ...addons, ...env }, ['--expose-gc']);
}

describe('the addon, when a call fails', function () {
  this.timeout(60_000);

  for (const call of ['cudaEventCreateWithFlags', 'cudaEventRecord']) {
    it(`${call}, in a layout of host arrays: no other layout gets its buffers while its kernel runs`, () => {
      const output = run(`
        const [group, other, before] = [ready(), ready(), ready()];
        const topkIdx = DeviceTensor.from(new Int32Array(512).fill(3), [64, 8]);
        // Without checks of ids, and with the upload known to be done, no event becomes idle later.
        for (const _copy of [1, 2]) topkIdx.toTypedArray();
        const options = { asyncFinish: true, invalidExperts: 'ignore' };
        process.env.FAKE_CUDA_SLOW = '40';
        const queued = [1, 2, 3, 4, 5].map(() => before.getDispatchLayout(topkIdx, 8, options));
        const previousEvent = queued[4].event;
        globalThis.noIdleEvents = Array.from({ length: 60 }, () => Stream.default.record());
        fault('${call}=2@1!');
        console.log(attempt(() => group.getDispatchLayout(host(64, 3), 8, { previousEvent })));
        fault('');
        const layout = other.getDispatchLayout(host(60, 5), 8, { asyncFinish: true });
        await new Promise((resolve) => setTimeout(resolve, 400));
        await layout.event.wait();
        console.log(layout.numTokensPerExpert.join());
        console.log(group.getDispatchLayout(host(64, 3), 8).numTokensPerExpert.join());`);
      assert.strictEqual(output, 'OUT_OF_MEMORY\n0,0,0,0,0,480,0,0\n0,0,0,512,0,0,0,0');
    });

    it(`${call}, in a layout of tensors: no kernel is running any more when the error is thrown`, () => {
      const output = run(`
        const group = ready();
        const topkIdx = DeviceTensor.from(new Int32Array(512).fill(3), [64, 8]);
        // Without checks of ids, and with the upload done, no event becomes idle in between.
        const options = { invalidExperts: 'ignore' };
        // The last layout is on the communication stream, so that the next one there need not wait for another stream
        const first = group.getDispatchLayout(topkIdx, 8, { ...options, asyncFinish: true });
        first.event.currentStreamWait();
        const counts = first.numTokensPerExpert.toTypedArray().join();
        topkIdx.toTypedArray();
        const previousEvent = Stream.default.record();
        globalThis.noIdleEvents = Array.from({ length: 60 }, () => Stream.default.record());
        process.env.FAKE_CUDA_SLOW = '150';
        fault('${call}=2@1!');
        const begin = performance.now();
        console.log(attempt(() => group.getDispatchLayout(topkIdx, 8, { ...options, previousEvent })));
        const isDone = performance.now() - begin > 100 || ${call === 'cudaEventCreateWithFlags'};
        fault('');
        process.env.FAKE_CUDA_SLOW = '0';
        const again = group.getDispatchLayout(topkIdx, 8);
        console.log(isDone, again.numTokensPerExpert.toTypedArray().join() === counts);`);
      assert.strictEqual(output, 'OUT_OF_MEMORY\ntrue true');
    });
  }

  it('cudaStreamWaitEvent, in a layout of tensors: no kernel is running any more when the error is thrown', () => {
    const output = run(`
      const group = ready();
      const topkIdx = DeviceTensor.from(new Int32Array(512).fill(3), [64, 8]);
      const previousEvent = Stream.default.record();
      process.env.FAKE_CUDA_SLOW = '150';
      fault('cudaStreamWaitEvent=2@2!');
      const begin = performance.now();
      console.log(attempt(() => group.getDispatchLayout(topkIdx, 8, { previousEvent })));
      console.log(performance.now() - begin > 100);`);
    assert.strictEqual(output, 'OUT_OF_MEMORY\ntrue');
  });

  it('cudaEventRecord, in an upload and a download: the staging memory is not reused too soon', () => {
    const output = run(`
      const stream = new Stream();
      const group = ready();
      const slow = DeviceTensor.from(new Int32Array(512), [64, 8]);
      const behind = () => stream.run(() => group.getDispatchLayout(slow, 8));
      const target = DeviceTensor.from(new Int32Array(64).fill(1));
      process.env.FAKE_CUDA_SLOW = '100';
      for (const use of [() => DeviceTensor.from(new Int32Array(64)), () => target.toTypedArrayAsync()]) {
        behind();
        const begin = performance.now();
        fault('cudaEventRecord=2@1!');
        const code = await stream.run(async () => use()).then(() => 'none', (error) => error.code);
        fault('');
        console.log(code, performance.now() - begin > 60);
      }`);
    assert.strictEqual(output, 'OUT_OF_MEMORY true\nOUT_OF_MEMORY true');
  });

  it('cudaLaunchHostFunc, in a wait: it ends all the same', () => {
    const output = run(`
      const stream = new Stream();
      library.sleepOnStream(stream.handle, 100);
      fault('cudaLaunchHostFunc=2@1!');
      const isBusy = stream.record();
      await stream.wait();
      console.log(isBusy.done);`);
    assert.strictEqual(output, 'true');
  });

  it('cudaEventCreateWithFlags, when a stream is destroyed: its work is still waited for', () => {
    const output = run(`
      globalThis.noIdleEvents = Array.from({ length: 60 }, () => Stream.default.record());
      const target = DeviceTensor.from(new Int32Array(64), [64]);
      Stream.default.synchronize();
      const tensor = (() => {
        const stream = new Stream();
        const tensor = stream.run(() => DeviceTensor.from(new Int32Array(64).fill(7), [64]));
        library.sleepOnStream(stream.handle, 200);
        library.copyOnStream(target.pointer, tensor.pointer, 256, stream.handle);
        return tensor;
      })();
      globalThis.noIdleEvents.push(...Array.from({ length: 60 }, () => Stream.default.record()));
      fault('cudaEventCreateWithFlags=2@1');
      for (let turn = 0; turn < 4; turn++) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        gc();
      }
      tensor.dispose();
      fault('');
      await new Promise((resolve) => setTimeout(resolve, 300));
      console.log(target.toTypedArray().every((value) => value === 7));`);
    assert.strictEqual(output, 'true');
  });

  for (const [title, use] of [
    ['a stream of its own', 'on(new Stream())'],
    ['the default stream', 'on(Stream.default)'],
    ['a stream of other code', 'on(theirs, theirs)'],
    [
      'a stream that was recorded',
      `() => {
        const tensor = new Stream().run(() => bytes(6));
        tensor.recordStream(theirs);
        return tensor;
      }`,
    ],
  ]) {
    it(`memory that is full of what ${title} has yet to free is enough, once that is done`, () => {
      const output = run(
        `
        const bytes = (mebibytes) => DeviceTensor.empty([mebibytes * 2 ** 20], 'uint8');
        const theirs = Stream.fromHandle(library.createStream(false));
        const busy = (stream) => library.sleepOnStream(stream.handle, 100);
        ${
          title === 'a stream that was recorded'
            ? `const tensor = (${use})(); busy(theirs); const next = new Stream();`
            : `const on = (stream, next = new Stream()) => ({ stream, next });
               const { stream, next } = ${use};
               const tensor = stream.run(() => bytes(6)); busy(stream);`
        }
        tensor.dispose();
        console.log(next.run(() => bytes(5)).size / 2 ** 20);
        console.log(attempt(() => bytes(4)));`,
        { FAKE_CUDA_MEMORY: String(8 * 2 ** 20) },
      );
      assert.strictEqual(output, '5\nOUT_OF_MEMORY');
    });
  }

  it('full memory never counts as a lost context, even if every call reports it', () => {
    const output = run(`
      const group = ready();
      fault('any=2@1');
      console.log(attempt(() => group.getDispatchLayout(host(64, 3), 8)));
      fault('');
      console.log(attempt(() => group.getDispatchLayout(host(64, 3), 8)));
      console.log(describeDevices().find(({ device }) => device === 'cuda').available);`);
    assert.strictEqual(output, 'OUT_OF_MEMORY\nnone\ntrue');
  });

  it('an error that can mean a lost context is fatal only if it repeats', () => {
    const output = run(`
      const group = ready();
      fault('cudaEventRecord=719@1!');
      console.log(attempt(() => group.getDispatchLayout(host(64, 3), 8)));
      console.log(attempt(() => group.getDispatchLayout(host(64, 3), 8)));
      fault('cudaEventRecord=719*@1');
      console.log(attempt(() => group.getDispatchLayout(host(64, 3), 8)));`);
    assert.strictEqual(output, 'CUDA_ERROR\nnone\nCUDA_ERROR, fatal');
  });

  it('pinned memory of another size is freed if memory of the needed size cannot be allocated', () => {
    const output = run(`
      const group = ready();
      group.getDispatchLayout(host(1000, 3), 8);
      fault('cudaHostAlloc=2@1!');
      console.log(attempt(() => group.getDispatchLayout(host(100_000, 3), 8)));`);
    assert.strictEqual(output, 'none');
  });
});

describe('pinned memory of the addon', function () {
  this.timeout(60_000);
  const prelude = `
    const copy = (mebibytes) => {
      const tensor = DeviceTensor.empty([mebibytes * 2 ** 20], 'uint8');
      const outcome = attempt(() => tensor.toTypedArray());
      tensor.dispose();
      return outcome;
    };
    const isKept = (mebibytes) => {
      fault('cudaHostAlloc=2@1');
      const outcome = copy(mebibytes);
      fault('');
      return outcome === 'none';
    };`;

  it('is kept for the sizes that were used last', () => {
    const output = run(`${prelude}
      for (const mebibytes of [10, 20, 30, 45, 60, 80, 110]) copy(mebibytes);
      console.log(isKept(110), isKept(80), isKept(60), isKept(45));`);
    assert.strictEqual(output, 'true true true false');
  });

  it('serves a somewhat smaller size, and not a much smaller one', () => {
    assert.strictEqual(run(`${prelude} copy(20); console.log(isKept(17), isKept(20), isKept(10));`), 'true true false');
  });
});
