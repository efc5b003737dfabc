/** `prepare`: the device that it makes ready, and what it does in a runtime that forbids or limits compilation. */
import { assert } from 'chai';
import { type DeviceName, ExpertGroup, prepare } from 'dispatch-layout';
import { expectRejection } from './support/expect.ts';
import { jsonOf } from './support/run-script.ts';

/** Limits compilation as Chromium before 115 did on the main thread of a page. */
const limitSynchronousCompilation = `
  for (const name of ['Module', 'Instance']) {
    const original = WebAssembly[name];
    WebAssembly[name] = new Proxy(original, {
      construct() { throw new RangeError('WebAssembly.' + name + ' is disallowed on the main thread'); },
    });
  }`;

/** Forbids compilation as a content security policy without 'wasm-unsafe-eval' does. */
const forbidCompilation = `
  WebAssembly.Module = new Proxy(WebAssembly.Module, {
    construct() { throw new WebAssembly.CompileError('blocked by the policy'); },
  });
  WebAssembly.compile = async () => { throw new WebAssembly.CompileError('blocked by the policy'); };`;

const imports = `const { describeDevices, ExpertGroup, getDispatchLayout, prepare } = await import('dispatch-layout');`;

describe('prepare', () => {
  it('resolves with the device that is ready', async () => {
    assert.strictEqual(await prepare(), 'wasm');
    assert.strictEqual(await prepare({}), 'wasm');
    for (const device of ['wasm', 'js'] as const) assert.strictEqual(await prepare({ device }), device);
    assert.strictEqual(await prepare({ device: 'auto' }), new ExpertGroup({ numRanks: 8 }).device);
  });

  it('compiles once and not on this thread, whoever calls it', () => {
    const script = `
      const calls = [];
      for (const name of ['Module', 'Instance', 'compile', 'instantiate']) {
        WebAssembly[name] = new Proxy(WebAssembly[name], {
          apply(target, self, values) { calls.push(name); return Reflect.apply(target, self, values); },
          construct(target, values) { calls.push('new ' + name); return new target(...values); },
        });
      }
      ${imports}
      await Promise.all([prepare(), prepare({ device: 'wasm' }), prepare()]);
      await prepare();
      const { device } = getDispatchLayout([[0]], 8, { numRanks: 4 });
      console.log(JSON.stringify({ device, calls: calls.sort() }));`;
    const { device, calls } = jsonOf(script) as { device: DeviceName; calls: string[] };
    assert.strictEqual(device, 'wasm');
    assert.deepStrictEqual(calls, ['compile', 'new Instance']);
  });

  it('makes wasm available where only asynchronous calls may compile, also after a layout on js', () => {
    const script = `
      ${limitSynchronousCompilation}
      ${imports}
      const before = getDispatchLayout([[0]], 8, { numRanks: 4 }).device;
      const { reason, remedy } = describeDevices().find(({ device }) => device === 'wasm');
      const prepared = await prepare();
      const after = new ExpertGroup({ numRanks: 4 }).getDispatchLayout([[0]], 8).device;
      console.log(JSON.stringify({ before, reason, remedy, prepared, after }));`;
    assert.deepStrictEqual(jsonOf(script), {
      before: 'js',
      reason: 'the kernel may not be compiled synchronously here (WebAssembly.Module is disallowed on the main thread)',
      remedy: 'Call `await prepare()` first, which compiles it asynchronously.',
      prepared: 'wasm',
      after: 'wasm',
    });
  });

  it('falls back to js where WebAssembly is forbidden, and rejects if it is asked for wasm', () => {
    const script = `
      ${forbidCompilation}
      ${imports}
      const prepared = await prepare();
      const rejections = [];
      for (let attempt = 0; attempt < 2; attempt++) {
        rejections.push(await prepare({ device: 'wasm' }).catch(({ code, message }) => ({ code, message })));
      }
      console.log(JSON.stringify({ prepared, rejections }));`;
    const { prepared, rejections } = jsonOf(script) as {
      prepared: DeviceName;
      rejections: { code: string; message: string }[];
    };
    assert.strictEqual(prepared, 'js');
    for (const { code, message } of rejections) {
      assert.strictEqual(code, 'DEVICE_UNAVAILABLE');
      assert.include(message, 'blocked by the policy');
    }
  });

  it('makes wasm available to getDispatchLayout after a call that had to use js', () => {
    const script = `
      const originals = [WebAssembly.Module, WebAssembly.Instance];
      ${limitSynchronousCompilation}
      ${imports}
      const device = () => getDispatchLayout([[0]], 8, { numRanks: 4 }).device;
      const before = device();
      [WebAssembly.Module, WebAssembly.Instance] = originals;
      console.log(JSON.stringify([before, await prepare(), device()]));`;
    assert.deepStrictEqual(jsonOf(script), ['js', 'wasm', 'wasm']);
  });

  it('tries again after a rejection', () => {
    const script = `
      const { compile } = WebAssembly;
      ${forbidCompilation}
      ${imports}
      const first = await prepare({ device: 'wasm' }).catch(({ code }) => code);
      WebAssembly.compile = compile;
      console.log(JSON.stringify([first, await prepare({ device: 'wasm' })]));`;
    assert.deepStrictEqual(jsonOf(script), ['DEVICE_UNAVAILABLE', 'wasm']);
  });

  it('rejects an unknown device, and options that are not an object', async () => {
    await expectRejection(prepare({ device: 'gpu' as 'js' }), { code: 'OPTION', value: 'gpu', message: /'gpu'/ });
    await expectRejection(prepare(null as unknown as object), { code: 'OPTION', value: null });
  });
});
