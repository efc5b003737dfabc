/**
 * CUDA graphs that another library captures: layouts become a part of one where that is possible, and are refused
 * elsewhere; and nothing that this library does spoils a capture.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { assert } from 'chai';
import { type DispatchLayoutError, ExpertGroup } from 'dispatch-layout';
import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
import { expectArrays, expectError, expectRejection } from '../support/expect.ts';
import { describeOnCuda } from './on-cuda.ts';
import { type CaptureMode, loadOtherLibrary, type OtherLibrary } from './other-library.ts';
import { reference, toHost } from './reference.ts';

const numExperts = 16;
const settings = { numRanks: 8, numRanksPerNode: 4 } as const;
const legal = { invalidExperts: 'ignore' } as const;

function rows(seed: number, numTokens = 300): { readonly data: Int32Array; readonly shape: readonly [number, number] } {
  const data = Int32Array.from({ length: numTokens * 4 }, (_, i) => (i * 7 + seed * 13 + (i >> 3)) % (numExperts + 1));
  return { data: data.map((id) => (id === numExperts ? -1 : id)), shape: [numTokens, 4] };
}

describeOnCuda('a CUDA graph that another library captures', () => {
  const library = loadOtherLibrary() as OtherLibrary;
  const input = rows(1);
  const right = reference(input, numExperts, settings);

  before(function () {
    if (library === undefined) this.skip();
  });

  /** Captures what `action` queues on a stream of the other library, and returns the graph. */
  function capture(
    action: (stream: Stream) => void,
    mode: CaptureMode = 'global',
    handle = library.createStream(true),
  ): { readonly graph: bigint; readonly handle: bigint } {
    const stream = Stream.fromHandle(handle);
    library.beginCapture(handle, mode);
    try {
      stream.run(() => action(stream));
    } catch (error) {
      // Otherwise every later test would find a capture
      try {
        library.destroyGraph(library.endCapture(handle));
      } catch {}
      throw error;
    }
    return { graph: library.endCapture(handle), handle };
  }

  function replay({ graph, handle }: { readonly graph: bigint; readonly handle: bigint }): void {
    library.launchGraph(graph, handle);
    library.synchronizeStream(handle);
  }

  for (const placement of [undefined, Array.from({ length: numExperts }, (_, expert) => (expert * 3) % 8)]) {
    it(`contains a layout${placement ? ' with a placement' : ''}, and computes it again with every replay`, () => {
      const group = new ExpertGroup({ ...settings, ...(placement && { placement }), device: 'cuda' });
      using topkIdx = DeviceTensor.from(input.data, input.shape);
      using out = group.getDispatchLayout(topkIdx, numExperts, legal);
      using other = DeviceTensor.from(input.data, input.shape);
      Stream.current.synchronize();
      const graph = capture(() => group.getDispatchLayout(topkIdx, numExperts, { ...legal, out }));
      for (const seed of [2, 3, 4]) {
        const changed = rows(seed);
        library.write(topkIdx.pointer, changed.data);
        // The group goes on computing layouts, which must not share memory with those of the graph
        using beside = group.getDispatchLayout(other, numExperts, { asyncFinish: true });
        replay(graph);
        beside.event.currentStreamWait();
        const options = { ...settings, ...(placement && { placement }) };
        expectArrays(toHost(out), reference(changed, numExperts, options));
        expectArrays(toHost(beside), reference(input, numExperts, options));
      }
      library.destroyGraph(graph.graph);
    });
  }

  it('contains several layouts, of several numbers of experts, and outlives the plans of the group', () => {
    const group = new ExpertGroup({ ...settings, device: 'cuda' });
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    const counts = [16, 24, 32, 40, 48, 56, 64, 72, 80, 88];
    const outs = counts.map((count) => group.getDispatchLayout(topkIdx, count, legal));
    Stream.current.synchronize();
    const graph = capture(() => {
      for (const [i, count] of counts.entries()) group.getDispatchLayout(topkIdx, count, { ...legal, out: outs[i] });
    });
    for (const count of [104, 112, 120, 128, 136, 144, 152, 160, 168]) {
      group.getDispatchLayout(topkIdx, count, legal)[Symbol.dispose]();
    }
    replay(graph);
    for (const [i, count] of counts.entries()) expectArrays(toHost(outs[i]), reference(input, count, settings));
    library.destroyGraph(graph.graph);
  });

  it('waits for an event that is recorded in it', () => {
    const group = new ExpertGroup({ ...settings, device: 'cuda' });
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    using out = group.getDispatchLayout(topkIdx, numExperts, legal);
    Stream.current.synchronize();
    const graph = capture((stream) => {
      const previousEvent = stream.record();
      group.getDispatchLayout(topkIdx, numExperts, { ...legal, out, previousEvent });
    });
    replay(graph);
    expectArrays(toHost(out), right);
    library.destroyGraph(graph.graph);
  });

  it('does not contain what cannot be a part of it: that is refused, and the capture goes on', async () => {
    const group = new ExpertGroup({ ...settings, device: 'cuda' });
    const side = new Stream();
    const topkIdx = side.run(() => DeviceTensor.from(input.data, input.shape));
    const out = side.run(() => group.getDispatchLayout(topkIdx, numExperts, legal));
    const early = side.record();
    side.synchronize();
    const pending: Promise<unknown>[] = [];
    const graph = capture((stream) => {
      const refused: [RegExp, () => unknown][] = [
        [/memory that outlives/, () => group.getDispatchLayout(topkIdx, numExperts, legal)],
        [/invalid ids when it is replayed/, () => group.getDispatchLayout(topkIdx, numExperts, { out })],
        [/finished before/, () => group.getDispatchLayout(topkIdx, numExperts, { ...legal, out, asyncFinish: true })],
        [/layout of host arrays/, () => group.getDispatchLayout(input, numExperts, { asyncFinish: true })],
        [/layout of host arrays/, () => group.getDispatchLayout(input, numExperts, { previousEvent: early })],
        [/recorded before/, () => early.currentStreamWait()],
        [/belong to the graph/, () => DeviceTensor.from(input.data)],
        [/belong to the graph/, () => DeviceTensor.empty([4], 'int32')],
        [/a copy between/, () => topkIdx.toTypedArray()],
        [/cannot wait/, () => stream.synchronize()],
        [/a point in a CUDA graph/, () => stream.record().done],
      ];
      for (const [message, use] of refused) expectError(use, { code: 'CAPTURE', message });
      // This is computed at once, beside the capture
      expectArrays(group.getDispatchLayout(input, numExperts), right);
      pending.push(topkIdx.toTypedArrayAsync(), stream.record().wait(), stream.wait());
      group.getDispatchLayout(topkIdx, numExperts, { ...legal, out });
    });
    for (const each of pending) await expectRejection(each, { code: 'CAPTURE' });
    replay(graph);
    expectArrays(toHost(out), right);
    library.destroyGraph(graph.graph);
  });

  it('keeps the communication stream of its group until it ends, and its events', () => {
    const group = new ExpertGroup({ ...settings, device: 'cuda' });
    const side = new Stream();
    const topkIdx = side.run(() => DeviceTensor.from(input.data, input.shape));
    const out = side.run(() => group.getDispatchLayout(topkIdx, numExperts, legal));
    side.synchronize();
    const graph = capture((stream) => {
      group.getDispatchLayout(topkIdx, numExperts, { ...legal, out });
      const previousEvent = stream.record();
      side.run(() => {
        const refused: [RegExp, () => unknown][] = [
          [/communication stream is a part of a CUDA graph/, () => group.getDispatchLayout(input, numExperts)],
          [
            /communication stream is a part of a CUDA graph/,
            () => group.getDispatchLayout(topkIdx, numExperts, { ...legal, asyncFinish: true }),
          ],
          [
            /a point in a CUDA graph/,
            () =>
              new ExpertGroup({ ...settings, device: 'cuda' }).getDispatchLayout(topkIdx, numExperts, {
                ...legal,
                previousEvent,
              }),
          ],
        ];
        for (const [message, use] of refused) expectError(use, { code: 'CAPTURE', message });
        // This runs on the current stream, and needs no other
        using beside = group.getDispatchLayout(topkIdx, numExperts, legal);
        expectArrays(toHost(beside), right);
      });
    });
    side.run(() => expectArrays(group.getDispatchLayout(input, numExperts), right));
    replay(graph);
    side.run(() => expectArrays(toHost(out), right));
    for (const each of [out, topkIdx]) each[Symbol.dispose]();
    library.destroyGraph(graph.graph);
  });

  it('on the stream of the last layout of a group leaves the group to that stream until it ends', () => {
    const group = new ExpertGroup({ ...settings, device: 'cuda' });
    const handle = library.createStream(false);
    const stream = new Stream();
    using topkIdx = stream.run(() => DeviceTensor.from(input.data, input.shape));
    using out = stream.run(() => group.getDispatchLayout(topkIdx, numExperts, legal));
    stream.synchronize();
    const graph = capture(() => {}, 'global', handle);
    library.beginCapture(stream.handle, 'global');
    new Stream().run(() =>
      expectError(() => group.getDispatchLayout(topkIdx, numExperts, { ...legal, out }), {
        code: 'CAPTURE',
        message: /the group's last layout ran on the captured stream/,
      }),
    );
    stream.run(() => group.getDispatchLayout(topkIdx, numExperts, { ...legal, out }));
    for (const each of [library.endCapture(stream.handle), graph.graph]) library.destroyGraph(each);
  });

  it('of a blocking stream forbids the default stream, which is refused before it spoils the capture', () => {
    const group = new ExpertGroup({ ...settings, device: 'cuda' });
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    using out = group.getDispatchLayout(topkIdx, numExperts, legal);
    Stream.current.synchronize();
    const graph = capture(() => {
      const onDefault = (use: () => unknown) => () => Stream.default.run(use);
      for (const use of [
        () => group.getDispatchLayout(topkIdx, numExperts, { ...legal, out }),
        () => DeviceTensor.empty([4], 'int32'),
        () => topkIdx.toTypedArray(),
        () => Stream.default.record(),
        () => Stream.default.synchronize(),
      ]) {
        expectError(onDefault(use), { code: 'CAPTURE', message: /CUDA's default stream/ });
      }
    });
    library.destroyGraph(graph.graph);
  });

  for (const mode of ['global', 'threadLocal', 'relaxed'] as const) {
    it(`in mode ${mode} is not spoiled by work on other streams`, async () => {
      const side = new Stream();
      const group = new ExpertGroup({ ...settings, device: 'cuda' });
      const kept = DeviceTensor.from(input.data, input.shape);
      const waited: Promise<unknown>[] = [];
      const graph = capture(() => {
        side.run(() => {
          const another = new ExpertGroup({ ...settings, device: 'cuda' });
          using topkIdx = DeviceTensor.from(input.data, input.shape);
          using layout = another.getDispatchLayout(topkIdx, numExperts);
          expectArrays(toHost(layout), right);
          expectArrays(group.getDispatchLayout(input, numExperts), right);
          const bad = { data: Int32Array.of(99), shape: [1, 1] } as const;
          expectError(() => another.getDispatchLayout(bad, numExperts), { code: 'INVALID_EXPERT' });
          expectError(() => DeviceTensor.empty([2 ** 40], 'int64'), { code: 'OUT_OF_MEMORY' });
          DeviceTensor.from(input.data, input.shape, { shareable: true }).dispose();
          const later = another.getDispatchLayout(topkIdx, numExperts, { asyncFinish: true });
          later.event.currentStreamWait();
          waited.push(later.event.wait(), topkIdx.toTypedArrayAsync());
          new Stream();
        });
        // It was made on the default stream, which must not be touched now
        kept.dispose();
      }, mode);
      await Promise.all(waited);
      library.destroyGraph(graph.graph);
    });
  }

  it('leaves the memory of a tensor alone that is disposed of during it, until it is over', () => {
    const handle = library.createStream(false);
    const stream = Stream.fromHandle(handle);
    const tensor = stream.run(() => DeviceTensor.from(input.data, input.shape));
    const recorded = new Stream().run(() => DeviceTensor.from(input.data, input.shape));
    recorded.recordStream(stream);
    stream.synchronize();
    const graph = capture(
      () => {
        tensor.dispose();
        recorded.dispose();
      },
      'global',
      handle,
    );
    // The next allocation frees it
    using _next = DeviceTensor.empty([4], 'int32');
    library.destroyGraph(graph.graph);
  });

  it('keeps what it needs after its group was collected, during the capture too', async () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const collect = async () => {
      for (let turn = 0; turn < 4; turn++) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        gc();
      }
    };
    const placement = Array.from({ length: numExperts }, (_, expert) => (expert * 3) % 8);
    const newGroup = () => new ExpertGroup({ ...settings, placement, device: 'cuda' });
    const side = new Stream();
    const topkIdx = side.run(() => DeviceTensor.from(input.data, input.shape));
    const out = side.run(() => newGroup().getDispatchLayout(topkIdx, numExperts, legal));
    side.synchronize();
    await collect();
    const handle = library.createStream(false);
    const stream = Stream.fromHandle(handle);
    library.beginCapture(handle, 'global');
    (() => {
      // A tensor keeps what its last layout needs, and with it the group
      const view = topkIdx.strided(input.shape, [4, 1]);
      stream.run(() => newGroup().getDispatchLayout(view, numExperts, { ...legal, out }));
    })();
    await collect();
    assert.strictEqual(library.captureStatus(handle), 'active');
    const graph = { graph: library.endCapture(handle), handle };
    await collect();
    // What was given back would be in these by now
    const others = [16, 32, 64, 128, 256].map((length) =>
      side.run(() => DeviceTensor.from(new Int32Array(length).fill(-1))),
    );
    for (const seed of [2, 3]) {
      const changed = rows(seed);
      library.write(topkIdx.pointer, changed.data);
      replay(graph);
      side.run(() => expectArrays(toHost(out), reference(changed, numExperts, { ...settings, placement })));
    }
    for (const other of others) assert.isTrue(side.run(() => other.toTypedArray()).every((value) => value === -1));
    library.destroyGraph(graph.graph);
  });

  it('shares no memory with a second one of the same group', () => {
    const group = new ExpertGroup({ ...settings, device: 'cuda' });
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    const outs = [1, 2].map(() => group.getDispatchLayout(topkIdx, numExperts, legal));
    Stream.current.synchronize();
    const graphs = outs.map((out) => capture(() => group.getDispatchLayout(topkIdx, numExperts, { ...legal, out })));
    for (const { graph, handle } of graphs) library.launchGraph(graph, handle);
    for (const { graph, handle } of graphs) {
      library.synchronizeStream(handle);
      library.destroyGraph(graph);
    }
    for (const out of outs) expectArrays(toHost(out), right);
  });

  it('does not wait for an event of another capture, and the default stream waits for none of either', () => {
    const group = new ExpertGroup({ ...settings, device: 'cuda' });
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    using out = group.getDispatchLayout(topkIdx, numExperts, legal);
    Stream.current.synchronize();
    const message = /a point in a CUDA graph/;
    let previousEvent = Stream.current.record();
    const other = library.createStream(false);
    library.beginCapture(other, 'relaxed');
    const graph = capture(
      (stream) => {
        previousEvent = Stream.fromHandle(other).record();
        expectError(() => group.getDispatchLayout(topkIdx, numExperts, { ...legal, out, previousEvent }), {
          code: 'CAPTURE',
          message,
        });
        expectError(() => previousEvent.currentStreamWait(), { code: 'CAPTURE', message });
        previousEvent = stream.record();
      },
      'relaxed',
      library.createStream(false),
    );
    expectError(() => previousEvent.currentStreamWait(), { code: 'CAPTURE' });
    assert.strictEqual(library.captureStatus(other), 'active');
    const captured = Stream.fromHandle(other).record();
    expectError(() => Stream.default.run(() => captured.currentStreamWait()), { code: 'CAPTURE', message });
    for (const each of [graph.graph, library.endCapture(other)]) library.destroyGraph(each);
  });

  it('still forbids other code what CUDA forbids during it, after calls that are allowed here', () => {
    const handle = library.createStream(false);
    library.beginCapture(handle, 'global');
    const side = new Stream();
    side.run(() => DeviceTensor.from(input.data, input.shape)).dispose();
    assert.throws(() => library.malloc(64), /cudaErrorStreamCaptureUnsupported/);
    assert.strictEqual(library.captureStatus(handle), 'invalidated');
    const stream = Stream.fromHandle(handle);
    expectError(() => stream.record(), { code: 'CAPTURE' });
    assert.throws(() => library.endCapture(handle), /cudaErrorStreamCaptureInvalidated/);
    side.run(() => DeviceTensor.from(input.data, input.shape)).dispose();
    stream.synchronize();
  });

  it('the error says what to do', () => {
    const group = new ExpertGroup({ ...settings, device: 'cuda' });
    using topkIdx = DeviceTensor.from(input.data, input.shape);
    Stream.current.synchronize();
    let remedy = '';
    const graph = capture(() => {
      try {
        group.getDispatchLayout(topkIdx, numExperts);
      } catch (error) {
        ({ remedy } = error as DispatchLayoutError);
      }
    });
    library.destroyGraph(graph.graph);
    assert.match(remedy, /^In a capture, pass a DeviceTensor, out and invalidExperts: 'ignore', and no asyncFinish\./);
  });
});
