/** The environment variables. Each test has a process of its own, since they are read once. */
import { assert } from 'chai';
import { runScript } from './support/run-script.ts';

/** The device of a group with these options, or the error; and what the process printed to standard error. */
function choose(variables: Readonly<Record<string, string>>, options: object = {}) {
  const script = `
    import { DispatchLayoutError, describeDevices, ExpertGroup, getDispatchLayout } from 'dispatch-layout';
    const attempt = (run) => {
      try {
        return run();
      } catch (error) {
        if (!(error instanceof DispatchLayoutError)) throw error;
        return error.code + ': ' + error.message;
      }
    };
    const options = { numRanks: 4, ...${JSON.stringify(options)} };
    console.log(JSON.stringify({
      group: attempt(() => [new ExpertGroup(options), new ExpertGroup(options)][0].device),
      layout: attempt(() => getDispatchLayout([[0, 1], [2, 7]], 8, options).device),
      described: attempt(() => describeDevices(options.device).find(({ chosen }) => chosen)?.device ?? 'none'),
    }));`;
  const { status, stdout, stderr } = runScript(script, variables);
  assert.strictEqual(status, 0, stderr);
  return { ...(JSON.parse(stdout) as { group: string; layout: string; described: string }), stderr };
}

describe('environment variables', function () {
  this.timeout(20_000);

  it('DISPATCH_LAYOUT_DEVICE is what auto stands for, and the option overrides it', () => {
    for (const [value, option, expected] of [
      ['js', undefined, 'js'],
      ['js', 'auto', 'js'],
      ['wasm', undefined, 'wasm'],
      ['auto', undefined, 'wasm'],
      ['', undefined, 'wasm'],
      ['js', 'wasm', 'wasm'],
      ['wasm', 'js', 'js'],
    ] as const) {
      const { group, layout, described } = choose({ DISPATCH_LAYOUT_DEVICE: value }, { device: option });
      const found = { group, layout, described };
      assert.deepStrictEqual(found, { group: expected, layout: expected, described: expected }, `${value}, ${option}`);
    }
  });

  it('DISPATCH_LAYOUT_DISABLE makes devices unavailable', () => {
    assert.strictEqual(choose({ DISPATCH_LAYOUT_DISABLE: 'wasm' }).group, 'js');
    assert.strictEqual(choose({ DISPATCH_LAYOUT_DISABLE: 'js' }).group, 'wasm');
    assert.strictEqual(choose({ DISPATCH_LAYOUT_DISABLE: ' cuda , wasm ' }).layout, 'js');
    const nothing = choose({ DISPATCH_LAYOUT_DISABLE: 'cuda,wasm,js' });
    assert.match(nothing.group, /^DEVICE_UNAVAILABLE: device 'js' is not available, because DISPATCH_LAYOUT_DISABLE/);
    assert.strictEqual(nothing.described, 'none');
  });

  it('a device that is forced and not available is an error that says why', () => {
    const { group, layout, described } = choose({ DISPATCH_LAYOUT_DEVICE: 'wasm', DISPATCH_LAYOUT_DISABLE: 'wasm' });
    for (const message of [group, layout]) {
      assert.strictEqual(
        message,
        "DEVICE_UNAVAILABLE: device 'wasm' is not available, because DISPATCH_LAYOUT_DISABLE names it. " +
          "Take 'wasm' out of DISPATCH_LAYOUT_DISABLE.",
      );
    }
    assert.strictEqual(described, 'none');
  });

  it('DISPATCH_LAYOUT_LOG prints which device was chosen and why, once', () => {
    assert.strictEqual(
      choose({ DISPATCH_LAYOUT_LOG: '1' }).stderr,
      "dispatch-layout: device 'wasm' is chosen (device: 'auto'): WebAssembly with SIMD runs here\n",
    );
    assert.strictEqual(
      choose({ DISPATCH_LAYOUT_LOG: '1', DISPATCH_LAYOUT_DISABLE: 'wasm' }).stderr,
      "dispatch-layout: device 'wasm' is not available (DISABLED): DISPATCH_LAYOUT_DISABLE names it\n" +
        "dispatch-layout: device 'js' is chosen (device: 'auto'): plain JavaScript runs everywhere\n",
    );
    assert.strictEqual(
      choose({ DISPATCH_LAYOUT_LOG: '1', DISPATCH_LAYOUT_DEVICE: 'js' }).stderr,
      "dispatch-layout: DISPATCH_LAYOUT_DEVICE makes 'auto' mean 'js'\n" +
        "dispatch-layout: device 'js' is chosen (device: 'js'): plain JavaScript runs everywhere\n",
    );
    assert.strictEqual(choose({ DISPATCH_LAYOUT_LOG: '0' }).stderr, '');
    assert.strictEqual(choose({}).stderr, '');
  });

  it('the settings of a disabled device do not matter', () => {
    const { group, layout, described } = choose({
      DISPATCH_LAYOUT_CUDA_CROSSOVER: 'many',
      DISPATCH_LAYOUT_DISABLE: 'cuda',
    });
    assert.deepStrictEqual([group, layout, described], ['wasm', 'wasm', 'wasm']);
  });

  for (const [name, value, allowed] of [
    ['DISPATCH_LAYOUT_DEVICE', 'gpu', 'one of auto, cuda, wasm, js, cuda:N'],
    ['DISPATCH_LAYOUT_DEVICE', 'wasm,js', 'one of auto, cuda, wasm, js, cuda:N'],
    ['DISPATCH_LAYOUT_DISABLE', 'cuda;wasm', 'a list of cuda, wasm, js'],
    ['DISPATCH_LAYOUT_DISABLE', 'auto', 'a list of cuda, wasm, js'],
    ['DISPATCH_LAYOUT_LOG', 'yes', 'one of 0, 1'],
    ['DISPATCH_LAYOUT_CUDA_CROSSOVER', '-1', 'a number of selections, or Infinity'],
    ['DISPATCH_LAYOUT_CUDA_CROSSOVER', 'many', 'a number of selections, or Infinity'],
  ] as const) {
    it(`${name}=${value} is an error that names the variable, the value and what is allowed`, () => {
      const { group, layout, described } = choose({ [name]: value });
      const expected = `ENVIRONMENT: the environment variable ${name} is '${value}'. Unset it, or set it to ${allowed}.`;
      assert.strictEqual(layout, expected);
      assert.strictEqual(described, expected);
      if (!name.includes('CUDA')) assert.strictEqual(group, expected);
    });
  }
});
