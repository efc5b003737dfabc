/** The addon where sizes, addresses and GPUs are unusual. The addon is called directly where the library would not. */
import { assert } from 'chai';
import { fakeAddon, runScript } from './fake.ts';

function run(script: string, env: Readonly<Record<string, string>> = {}): string {
  const prelude = `
    import { createRequire } from 'node:module';
    import { describeDevices, ExpertGroup } from 'dispatch-layout';
    import { DeviceTensor } from 'dispatch-layout/cuda';
    const addon = createRequire(process.cwd() + '/')(process.env.DISPATCH_LAYOUT_CUDA_ADDON);
    const attempt = (use) => {
      try { return use(); } catch (error) { return error.code ?? error.message; }
    };`;
  const settings = { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), ...env };
  const { stdout, stderr, status } = runScript(prelude + script, settings);
  assert.strictEqual(status, 0, stderr);
  return stdout.trim();
}

describe('limits of the addon', function () {
  this.timeout(60_000);

  it('a layout whose size wraps is refused before anything is queued', () => {
    const output = run(`
      const stream = addon.createStream();
      const plan = addon.createPlan(stream, 16384, 16384, 16384, 1, null);
      const memory = addon.allocate(64, stream, false);
      const shape = [2, 2 ** 50, 0, 0, 1];
      const order = [stream, null, false, false];
      console.log(attempt(() => addon.outputOffsets(plan, 2 ** 50)));
      console.log(attempt(() => addon.launchOnDevice(plan, memory, 0, shape, null, true, order)));
      console.log(attempt(() => addon.launchOnHost(plan, new Int32Array(0), 0, shape, true, order)));
      const huge = [2, 2 ** 34, 2 ** 34, 0, 1];
      const small = addon.createPlan(stream, 4, 4, 4, 1, null);
      console.log(attempt(() => addon.launchOnHost(small, new Int32Array(0), 0, huge, true, order)));
      const outputs = [memory, 0, null, 0, memory, 16, memory, 48];
      console.log(attempt(() => addon.launchOnDevice(small, memory, 0, [2, 5, 0, 0, 1], outputs, true, order)));
      console.log(attempt(() => addon.launchOnDevice(small, memory, 0, [2, 4, 0, 0, 1], outputs, true, order)[0]));`);
    const tooLarge = `a layout of ${2 ** 50} tokens on 16384 ranks is larger than any memory`;
    const lines = [tooLarge, tooLarge, tooLarge, 'the ids are larger than any memory'];
    assert.deepStrictEqual(output.split('\n'), [...lines, 'an output is larger than its memory', 'null']);
  });

  it('no tokens of very many ids each', () => {
    const output = run(`
      const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
      const host = { data: new Int32Array(0), shape: [0, 2 ** 31] };
      console.log(group.getDispatchLayout(host, 8).numTokensPerExpert.join());
      const tensor = DeviceTensor.empty([0, 2 ** 31], 'int32');
      console.log(group.getDispatchLayout(tensor, 8).numTokensPerExpert.toTypedArray().join());`);
    assert.strictEqual(output, '0,0,0,0,0,0,0,0\n0,0,0,0,0,0,0,0');
  });

  it('more ids of a token than the kernel can count are refused, not cut off', () => {
    const output = run(`
      const stream = addon.createStream();
      const plan = addon.createPlan(stream, 4, 4, 4, 1, null);
      const shape = [7, 1, 2 ** 32, 2 ** 32, 1];
      const memory = addon.allocate(64, stream, false);
      try {
        addon.launchOnDevice(plan, memory, 0, shape, null, true, [stream, null, false, false]);
      } catch ({ cuda }) {
        console.log(cuda.cudaName, cuda.isSticky);
      }`);
    assert.strictEqual(output, 'cudaErrorInvalidValue false');
  });

  it('an empty tensor has any address', () => {
    assert.strictEqual(
      run(`console.log(addon.wrapPointer(0n, 0) !== null, addon.wrapPointer(0n, 8),
        DeviceTensor.fromPointer(0n, [0, 8], 'int64').toTypedArray().length);`),
      'true null 0',
    );
  });

  it('memory of another GPU is refused', () => {
    const output = run(`
      const tensor = DeviceTensor.from(Int32Array.of(1));
      const wrap = () => DeviceTensor.fromPointer(tensor.pointer, [1], 'int32').toTypedArray().join();
      console.log(attempt(wrap));
      process.env.FAKE_CUDA_POINTER_DEVICE = '1';
      console.log(attempt(wrap));`);
    assert.strictEqual(output, '1\nCUDA_ERROR');
  });

  it('what is no address is refused', () => {
    const output = run(`
      for (const address of [5, -1n, 2n ** 64n, null]) console.log(attempt(() => addon.wrapStream(address)));
      console.log(attempt(() => addon.wrapPointer(0n, -1)));`);
    const fits = 'the address does not fit 64 bits';
    const lines = ['the address is no bigint', fits, fits, 'the address is no bigint'];
    assert.deepStrictEqual(output.split('\n'), [...lines, 'a size or an offset is negative']);
  });

  it('a second GPU that is broken does not matter', () => {
    const output = run(
      `const { available, reason } = describeDevices().find(({ device }) => device === 'cuda');
      console.log(available, reason);`,
      { FAKE_CUDA_DEVICES: '2', FAKE_CUDA_FAULT: 'cudaGetDeviceProperties=101@2!' },
    );
    assert.match(output, /^true made-up GPU/);
  });

  it('memory used by a stream that no longer takes events is released all the same', () => {
    const { stderr, status } = runScript(
      `
      import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
      const tensor = DeviceTensor.from(new Int32Array(1000));
      tensor.recordStream(new Stream());
      process.env.FAKE_CUDA_FAULT = 'cudaEventRecord=400@1';
      tensor.dispose();
      process.env.FAKE_CUDA_FAULT = '';`,
      { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), FAKE_CUDA_REPORT: '1' },
    );
    assert.strictEqual(status, 0, stderr);
    assert.include(stderr, 'allocations 0');
  });

  it('the garbage collector runs for the memory that dropped tensors keep', () => {
    const output = run(`
      const rss = () => Math.round(process.memoryUsage().rss / 2 ** 20);
      const before = rss();
      let most = 0;
      for (let call = 0; call < 300; call++) {
        DeviceTensor.empty([4 * 2 ** 20], 'uint8');
        most = Math.max(most, rss() - before);
        if (call % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      console.log(most);`);
    // MiB, of 1200
    assert.isBelow(Number(output), 600);
  });
});
