/** Workspaces of tensors: the same layouts as those of `getDispatchLayout`, with everything checked beforehand. */
import { assert } from 'chai';
import { ExpertGroup, getDispatchLayout } from 'dispatch-layout';
import { DeviceTensor, DeviceWorkspace, Stream } from 'dispatch-layout/cuda';
import { expectArrays, expectError } from '../support/expect.ts';
import { describeOnCuda } from './on-cuda.ts';
import { reference, toHost } from './reference.ts';

const settings = { numRanks: 4, numRanksPerNode: 2 } as const;
const numExperts = 8;
const rows = (numTokens: number, seed = 0) => ({
  data: Int32Array.from({ length: numTokens * 3 }, (_, i) => ((i * 5 + seed * 7 + (i >> 2)) % (numExperts + 1)) - 1),
  shape: [numTokens, 3] as const,
});

describeOnCuda('a workspace of tensors', () => {
  const group = new ExpertGroup({ ...settings, device: 'cuda' });

  it('computes the layout of the first tokens, again with every run', () => {
    const input = rows(500);
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    using workspace = group.createWorkspace({ topkIdx, numExperts });
    assert.instanceOf(workspace, DeviceWorkspace);
    assert.deepInclude(workspace, { maxTokens: 500, numTopk: 3, device: 'cuda', topkIdx });
    for (const numTokens of [500, 0, 1, 33, 500, 33]) {
      const part = { data: input.data.subarray(0, numTokens * 3), shape: [numTokens, 3] };
      const layout = workspace.run(numTokens);
      assert.strictEqual(layout.numTokens, numTokens);
      expectArrays(toHost(layout), reference(part, numExperts, settings));
      assert.strictEqual(workspace.run(numTokens), layout);
    }
  });

  for (const [title, options] of [
    ['without a mask', { mask: 'none' }],
    ['with rows of bits', { mask: 'bits' }],
    ['with an empty id', { emptyId: 5 }],
    ['that skips invalid ids', { invalidExperts: 'ignore' }],
  ] as const) {
    it(`${title}: the same as getDispatchLayout`, () => {
      const input = rows(100, 3);
      input.data[17] = title === 'that skips invalid ids' ? 99 : input.data[17];
      using topkIdx = DeviceTensor.from(input.data, input.shape);
      using workspace = group.createWorkspace({ topkIdx, numExperts, ...options });
      const layout = getDispatchLayout(topkIdx, numExperts, { ...settings, ...options });
      expectArrays(toHost(workspace.run()), toHost(layout));
      layout[Symbol.dispose]();
    });
  }

  it('writes to the tensors of the caller, and does not dispose of them', () => {
    const input = rows(64);
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    using out = group.getDispatchLayout(topkIdx, numExperts);
    {
      using workspace = group.createWorkspace({ topkIdx, numExperts, out });
      const layout = workspace.run(10);
      assert.strictEqual(layout.numTokensPerRank, out.numTokensPerRank);
    }
    const part = { data: input.data.subarray(0, 30), shape: [10, 3] };
    assert.deepStrictEqual(out.numTokensPerRank.toTypedArray(), reference(part, numExperts, settings).numTokensPerRank);
  });

  it('disposes of its own results, and of nothing else', () => {
    const input = rows(8);
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    const workspace = group.createWorkspace({ topkIdx, numExperts });
    const layout = workspace.run(3);
    workspace[Symbol.dispose]();
    assert.isTrue(layout.isTokenInRank.isDisposed && layout.numTokensPerRank.isDisposed);
    assert.isFalse(topkIdx.isDisposed);
    expectError(() => workspace.run(), { code: 'DISPOSED' });
    const other = group.createWorkspace({ topkIdx, numExperts });
    topkIdx.dispose();
    expectError(() => other.run(), { code: 'DISPOSED' });
    other[Symbol.dispose]();
  });

  it('does not keep the memory of tensors that are disposed of', () => {
    const input = rows(8);
    const topkIdx = DeviceTensor.from(input.data, input.shape);
    using workspace = group.createWorkspace({ topkIdx, numExperts });
    workspace.run();
    const { pointer } = topkIdx;
    topkIdx.dispose();
    // The pool gives the memory that was freed last
    using next = DeviceTensor.from(input.data, input.shape);
    if (process.env.DISPATCH_LAYOUT_CUDA_ADDON?.includes('fake') && process.env.FAKE_CUDA_POOLS !== '0') {
      assert.strictEqual(next.pointer, pointer);
    }
  });

  it('is ordered with other layouts of the group, and with the current stream', () => {
    const [first, second] = [rows(300, 1), rows(300, 2)];
    const expected = reference(second, numExperts, settings);
    for (let round = 0; round < 20; round += 1) {
      const stream = new Stream();
      stream.run(() => {
        using topkIdx = DeviceTensor.from(second.data, second.shape);
        using other = DeviceTensor.from(first.data, first.shape);
        using workspace = group.createWorkspace({ topkIdx, numExperts });
        using before = group.getDispatchLayout(other, numExperts, { asyncFinish: true });
        const layout = workspace.run();
        using after = new Stream().run(() => group.getDispatchLayout(other, numExperts, { asyncFinish: true }));
        expectArrays(toHost(layout), expected);
        before.event.currentStreamWait();
        after.event.currentStreamWait();
        expectArrays(toHost(before), reference(first, numExperts, settings));
        expectArrays(toHost(after), reference(first, numExperts, settings));
      });
    }
  });

  it('reports invalid ids as layouts do', async () => {
    using topkIdx = DeviceTensor.from(Int32Array.of(0, 1, 99, 3), [2, 2]);
    const own = new ExpertGroup({ ...settings, device: 'cuda' });
    using workspace = own.createWorkspace({ topkIdx, numExperts });
    const layout = workspace.run();
    const offence = { code: 'INVALID_EXPERT', token: 1, slot: 0, value: 99 };
    expectError(() => layout.numTokensPerRank.toTypedArray(), offence);
    const { numTokensPerRank } = workspace.run(1);
    assert.deepStrictEqual([...numTokensPerRank.toTypedArray()], [1, 0, 0, 0]);
    workspace.run();
    await Stream.current.wait();
    expectError(() => workspace.run(1), { ...offence, message: /^in an earlier layout, / });
    workspace.run(1);
  });

  it('wrong options are refused when it is made, and numbers of tokens when it is run', () => {
    using topkIdx = DeviceTensor.from(rows(8).data, [8, 3]);
    const make = (options: object) => () => group.createWorkspace({ topkIdx, numExperts, ...options });
    expectError(make({ numExperts: 9 }), { code: 'UNEVEN_EXPERTS' });
    expectError(make({ maxTokens: 8 }), { code: 'OPTION', message: /no option "?'?maxTokens/ });
    expectError(make({ out: {} }), { code: 'OUT' });
    using tensor = DeviceTensor.empty([], 'int32');
    expectError(() => group.createWorkspace({ topkIdx: tensor, numExperts }), { code: 'TOPK_SHAPE' });
    using workspace = group.createWorkspace({ topkIdx, numExperts });
    for (const numTokens of [-1, 9, 1.5, '3' as unknown as number]) {
      expectError(() => workspace.run(numTokens), { code: 'OPTION', message: /room for 0 to 8 tokens/ });
    }
    const HandMade = DeviceWorkspace as unknown as new (operands?: unknown) => unknown;
    expectError(() => new HandMade({}), { code: 'OPTION', message: /group\.createWorkspace/ });
    expectError(() => new ExpertGroup({ ...settings, device: 'wasm' }).createWorkspace({ topkIdx, numExperts }), {
      code: 'OPTION',
      message: /topkIdx is on 'cuda'/,
    });
  });
});

describeOnCuda('layouts of the same tensors', () => {
  const group = new ExpertGroup({ ...settings, device: 'cuda' });

  it('are prepared anew if anything else differs', () => {
    const input = rows(40);
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    using out = group.getDispatchLayout(topkIdx, numExperts);
    using other = group.getDispatchLayout(topkIdx, numExperts);
    const mixed = { ...out };
    for (const options of [{}, { emptyId: 2 }, {}, { invalidExperts: 'ignore' as const }, {}]) {
      const layout = group.getDispatchLayout(topkIdx, numExperts, { ...options, out });
      expectArrays(toHost(layout), reference(input, numExperts, { ...settings, ...options }));
    }
    for (const tensors of [out, other]) {
      // The same object, with other tensors in it
      const layout = group.getDispatchLayout(topkIdx, numExperts, { out: Object.assign(mixed, tensors) });
      assert.strictEqual(layout.numTokensPerRank, tensors.numTokensPerRank);
    }
    const wider = new ExpertGroup({ ...settings, device: 'cuda' });
    expectArrays(
      toHost(
        wider.getDispatchLayout(topkIdx, 16, {
          out: { ...out, numTokensPerExpert: DeviceTensor.empty([16], 'int32') },
        }),
      ),
      reference(input, 16, settings),
    );
  });

  it('that were disposed of are refused each time', () => {
    const input = rows(4);
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    const out = group.getDispatchLayout(topkIdx, numExperts);
    group.getDispatchLayout(topkIdx, numExperts, { out });
    out.isTokenInRank.dispose();
    expectError(() => group.getDispatchLayout(topkIdx, numExperts, { out }), { code: 'DISPOSED' });
    out[Symbol.dispose]();
  });

  it('with more strict layouts under way than the addon has places for: each is reported or valid', () => {
    const own = new ExpertGroup({ ...settings, device: 'cuda' });
    using good = DeviceTensor.from(Int32Array.of(0, 1), [1, 2]);
    using bad = DeviceTensor.from(Int32Array.of(0, 77), [1, 2]);
    using out = own.getDispatchLayout(good, numExperts);
    let numReported = 0;
    for (let call = 0; call < 700; call += 1) {
      try {
        own.getDispatchLayout(call % 100 === 99 ? bad : good, numExperts, { out });
      } catch (error) {
        expectError(
          () => {
            throw error;
          },
          { code: 'INVALID_EXPERT', value: 77 },
        );
        numReported += 1;
        call -= 1;
      }
    }
    Stream.current.synchronize();
    for (;;) {
      try {
        own.getDispatchLayout(good, numExperts, { out });
        break;
      } catch {
        numReported += 1;
      }
    }
    assert.strictEqual(numReported, 7);
  });
});
