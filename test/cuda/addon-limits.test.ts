/** The addon with unusual sizes, addresses and GPUs. It is called directly if the library would not make such a call. */
import { assert } from 'chai';
import { outputNames } from '../../ts/layout/outputs.ts';
import { printedBy, runScript } from '../support/run-script.ts';
import { fakeAddon } from './fake.ts';

function run(script: string, env: Readonly<Record<string, string>> = {}): string {
  const prelude = `
    import { createRequire } from 'node:module';
    import { describeDevices, ExpertGroup } from 'dispatch-layout';
    import { DeviceTensor } from 'dispatch-layout/cuda';
    const addon = createRequire(process.cwd() + '/')(process.env.DISPATCH_LAYOUT_CUDA_ADDON);
    const attempt = (use) => {
      try { return use(); } catch (error) { return error.code ?? error.message; }
    };`;
  return printedBy(prelude + script, { DISPATCH_LAYOUT_CUDA_ADDON: fakeAddon(), ...env });
}

/** The objects that direct calls of the addon need. */
const onTheAddon = `
  const group = addon.createGroup(0);
  const stream = addon.createStream(0);
  const memory = addon.allocate(64, stream, false);
  const order = { currentStream: stream, previous: null, asyncFinish: false, allocateOnCommStream: false };
  const ofBytes = { kind: 'layout', mask: 'bytes' };
  const strict = { computation: ofBytes, isStrict: true };
  const launch = (layout) => addon.launchLayout(addon.createLayout(layout), layout.ids.numTokens, order);
  const ofOrders = { expertOffsets: null, selectionOfRow: null, rankOffsets: null, tokenOfRow: null, rowOfSelection: null };
  const planOf = (count) =>
    addon.createPlan({ group, numExperts: count, numRanks: count, numNodes: 1, rankOfExpert: null });`;

describe('limits of the addon', function () {
  this.timeout(60_000);

  it('a layout whose size overflows is refused before anything is queued', () => {
    const output = run(`${onTheAddon}
      const plan = planOf(16384);
      const type = { code: 2 };
      const ids = { allocation: memory, byteOffset: 0, type, numTokens: 2 ** 50, numTopk: 0, tokenStride: 0, emptyId: null };
      const hostIds = { data: new Int32Array(0), offset: 0, slotStride: 1, type, numTokens: 2 ** 50, numTopk: 0, tokenStride: 0, emptyId: null };
      console.log(attempt(() => addon.createLayout({ plan, ids, outputs: null, ...strict })));
      console.log(attempt(() => launch({ plan, ids, outputs: null, ...strict })));
      console.log(attempt(() => addon.launchOnHost({ plan, ids: hostIds, ...strict, order })));
      const small = planOf(4);
      const huge = { ...hostIds, numTokens: 2 ** 34, numTopk: 2 ** 34 };
      console.log(attempt(() => addon.launchOnHost({ plan: small, ids: huge, ...strict, order })));
      const outputs = {
        numTokensPerRank: { allocation: memory, byteOffset: 0 },
        numTokensPerRdmaRank: null,
        numTokensPerExpert: { allocation: memory, byteOffset: 16 },
        isTokenInRank: { allocation: memory, byteOffset: 48 },
        ...ofOrders,
      };
      const counts = (numTokens) => launch({ plan: small, ids: { ...ids, numTokens }, outputs, ...strict }).counts;
      console.log(attempt(() => counts(5)));
      console.log(attempt(() => counts(4)));
      outputs.isTokenInRank = null;
      console.log(attempt(() => counts(4)));`);
    const tooLarge = `an output of ${2 ** 50} x 16384 elements is larger than any memory`;
    const lines = [tooLarge, tooLarge, tooLarge, 'the ids are larger than any memory'];
    assert.deepStrictEqual(output.split('\n'), [
      ...lines,
      'an output is larger than its memory',
      'null',
      'isTokenInRank is missing',
    ]);
  });

  it('no tokens with very many slots each give zeros', () => {
    const output = run(`
      const group = new ExpertGroup({ numRanks: 4, device: 'cuda' });
      const host = { data: new Int32Array(0), shape: [0, 2 ** 31] };
      console.log(group.getDispatchLayout(host, 8).numTokensPerExpert.join());
      const tensor = DeviceTensor.empty([0, 2 ** 31], 'int32');
      console.log(group.getDispatchLayout(tensor, 8).numTokensPerExpert.toTypedArray().join());`);
    assert.strictEqual(output, '0,0,0,0,0,0,0,0\n0,0,0,0,0,0,0,0');
  });

  it('more slots than the kernel can count are refused, not truncated', () => {
    const output = run(`${onTheAddon}
      const ids = { allocation: memory, byteOffset: 0, type: { code: 7 }, numTokens: 1, numTopk: 2 ** 32, tokenStride: 2 ** 32, emptyId: null };
      try {
        launch({ plan: planOf(4), ids, outputs: null, ...strict });
      } catch ({ cuda }) {
        console.log(cuda.cudaName, cuda.isSticky);
      }`);
    assert.strictEqual(output, 'cudaErrorInvalidValue false');
  });

  it('a layout without a mask counts the same, and has no memory for the mask', () => {
    const output = run(`${onTheAddon}
      const shape = { type: { code: 2 }, numTokens: 3, numTopk: 2, tokenStride: 2, emptyId: 5n };
      const data = Int32Array.of(0, 1, 3, 3, -1, 5);
      addon.upload(memory, 0, data, stream);
      const options = { plan: planOf(4), computation: { kind: 'layout', mask: 'none' }, isStrict: true, order };

      const host = addon.launchOnHost({ ...options, ids: { ...shape, data, offset: 0, slotStride: 1 } });
      const counts = { ...ofOrders, numTokensPerRank: new Int32Array(4), numTokensPerRdmaRank: null };
      const arrays = { ...counts, numTokensPerExpert: new Int32Array(4), isTokenInRank: null };
      console.log(addon.synchronizeHost(host), addon.copyHostOutputs(host, arrays));
      console.log(arrays.numTokensPerRank.join(), arrays.numTokensPerExpert.join());

      const ids = { ...shape, allocation: memory, byteOffset: 0 };
      const { counts: outputs, rows } = launch({ ...options, ids, outputs: null });
      const read = (allocation, offset) => {
        const array = new Int32Array(4);
        addon.finishDownload(addon.download(allocation, offset, 16, stream), array);
        return array.join();
      };
      const places = addon.outputOffsets(addon.createLayout({ ...options, ids, outputs: null }));
      console.log(read(outputs, places.numTokensPerRank), read(outputs, places.numTokensPerExpert));
      console.log(rows);

      const given = addon.allocate(48, stream, false);
      addon.upload(given, 0, new Int32Array(12).fill(7), stream);
      const placeAt = (byteOffset) => ({ allocation: given, byteOffset });
      // Nothing is written to a mask that is not wanted
      const some = { ...ofOrders, numTokensPerRank: placeAt(0), numTokensPerRdmaRank: null, numTokensPerExpert: placeAt(16) };
      for (const isTokenInRank of [null, placeAt(32)]) {
        launch({ ...options, ids, outputs: { ...some, isTokenInRank } });
        console.log(read(given, 0), read(given, 16), read(given, 32));
      }`);
    assert.deepStrictEqual(output.split('\n'), [
      'null true',
      '1,1,0,1 1,1,0,2',
      '1,1,0,1 1,1,0,2',
      'null',
      '1,1,0,1 1,1,0,2 7,7,7,7',
      '1,1,0,1 1,1,0,2 7,7,7,7',
    ]);
  });

  it('the outputs are those of TypeScript, in its order', () => {
    const output = run(`${onTheAddon}
      const ids = { allocation: memory, byteOffset: 0, type: { code: 2 }, numTokens: 4, numTopk: 2, tokenStride: 2, emptyId: null };
      const layout = addon.createLayout({ plan: planOf(4), ids, outputs: null, ...strict });
      console.log(Object.keys(addon.outputOffsets(layout)).join());`);
    assert.strictEqual(output, outputNames.join());
  });

  it('a missing or wrong field is named', () => {
    const output = run(`${onTheAddon}
      const plan = planOf(4);
      const type = { code: 2 };
      const ids = { allocation: memory, byteOffset: 0, type, numTokens: 0, numTopk: 0, tokenStride: 0, emptyId: null };
      const right = { plan, ids, outputs: null, ...strict };
      const wrong = [
        {},
        { ...right, plan: stream },
        { ...right, ids: { ...ids, allocation: undefined } },
        { ...right, ids: { ...ids, numTokens: '1' } },
        { ...right, ids: { ...ids, type: { code: 8 } } },
        ...[5, undefined, -1n, 2n ** 64n].map((emptyId) => ({ ...right, ids: { ...ids, emptyId } })),
        { ...right, outputs: {} },
        { ...right, outputs: { numTokensPerRank: { allocation: memory, byteOffset: -1 } } },
        ...[undefined, 'bit', true].map((mask) => ({ ...right, computation: { kind: 'layout', mask } })),
        { ...right, computation: undefined },
        { ...right, computation: { kind: 'byToken' } },
        { ...right, computation: { kind: 'byExpert', firstExpert: 0, numLocalExperts: 1, alignment: 0 } },
        { ...right, computation: { kind: 'byExpert', firstExpert: -1, numLocalExperts: 1, alignment: 1 } },
        { ...right, computation: { kind: 'byRank', winner: 'both' } },
        { ...right, isStrict: 1 },
      ];
      for (const each of wrong) {
        try { addon.createLayout(each); } catch (error) { console.log(error.name + ': ' + error.message); }
      }
      const made = addon.createLayout(right);
      console.log(attempt(() => addon.launchLayout(made, 0, { ...order, previous: undefined })));
      console.log(attempt(() => addon.launchLayout(made, 1, order)));
      console.log(attempt(() => addon.runLayout(made, -1, stream)));
      console.log(attempt(() => addon.createPlan({ group, numExperts: 0 })));`);
    assert.deepStrictEqual(output.split('\n'), [
      'TypeError: layout.ids is missing: it must be an object',
      'TypeError: layout.plan must be a handle of kind plan',
      'TypeError: layout.ids.allocation is missing: it must be a handle of the CUDA addon',
      'TypeError: layout.ids.numTokens must be a number',
      'TypeError: layout.ids.type must be an id type',
      'TypeError: layout.ids.emptyId must be null or a bigint of 64 bits',
      'TypeError: layout.ids.emptyId is missing: it must be null or a bigint of 64 bits',
      'TypeError: layout.ids.emptyId must be null or a bigint of 64 bits',
      'TypeError: layout.ids.emptyId must be null or a bigint of 64 bits',
      'TypeError: layout.outputs.numTokensPerRank is missing: it must be an object',
      'TypeError: layout.outputs.numTokensPerRank.byteOffset must be 0 or more',
      "TypeError: layout.computation.mask is missing: it must be 'bytes', 'bits' or 'none'",
      "TypeError: layout.computation.mask must be 'bytes', 'bits' or 'none'",
      "TypeError: layout.computation.mask must be 'bytes', 'bits' or 'none'",
      'TypeError: layout.computation is missing: it must be an object',
      "TypeError: layout.computation.kind must be 'layout', 'byExpert' or 'byRank'",
      'TypeError: layout.computation.alignment must be a 32-bit integer, 1 or more',
      'TypeError: layout.computation.firstExpert must be a 32-bit integer, 0 or more',
      "TypeError: layout.computation.winner must be 'first' or 'last'",
      'TypeError: layout.isStrict must be a boolean',
      'order.previous is missing: it must be a handle of the CUDA addon',
      'numTokens must be a number of tokens of the layout',
      'numTokens must be a number of tokens of the layout',
      'plan.numExperts must be a positive 32-bit integer',
    ]);
  });

  it('an empty tensor may have any address', () => {
    assert.strictEqual(
      run(`console.log(JSON.stringify(addon.wrapPointer(0, 0n, 8).allocation),
        DeviceTensor.fromPointer(0n, [0, 8], 'int64').toTypedArray().length);`),
      'null 0',
    );
  });

  it('values that are not addresses are refused', () => {
    const output = run(`
      for (const address of [5, -1n, 2n ** 64n, null]) console.log(attempt(() => addon.wrapStream(0, address)));
      console.log(attempt(() => addon.wrapPointer(0, 0n, -1)));`);
    const fits = 'the address does not fit 64 bits';
    const lines = ['the address is no bigint', fits, fits, 'the address is no bigint'];
    assert.deepStrictEqual(output.split('\n'), [...lines, 'bytes must be 0 or more']);
  });

  it('memory is released even if a stream that uses it no longer accepts events', () => {
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

  it('the garbage collector runs because of the memory that unreachable tensors keep', () => {
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
    // This is in MiB; without garbage collection it would be 1200.
    assert.isBelow(Number(output), 600);
  });
});
