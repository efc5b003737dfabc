/**
 * The order of work on the GPU: memory is not given back while work uses it, and layouts wait for what they were told to
 * wait for. Another library keeps streams busy, so that whoever does not wait comes too early. Memory that is given back
 * too early is written to by others, or by the fake GPU, which overwrites it.
 */
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { assert } from 'chai';
import { type EventOverlap, ExpertGroup } from 'dispatch-layout';
import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
import type { CudaAddon } from '../../ts/devices/cuda/addon.ts';
import { describeOnCuda } from './on-cuda.ts';
import { loadOtherLibrary, type OtherLibrary } from './other-library.ts';

const numExperts = 8;
const legal = { invalidExperts: 'ignore' } as const;
const asynchronous = { ...legal, asyncFinish: true } as const;
/** How long a stream is kept busy. */
const busyMilliseconds = 200;

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

describeOnCuda('the order of work on the GPU', () => {
  const library = loadOtherLibrary() as OtherLibrary;

  before(function () {
    if (library === undefined) this.skip();
  });

  /** Collects what nothing refers to any more. */
  async function collect(): Promise<void> {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    for (let turn = 0; turn < 4; turn++) {
      // Handles are released in tasks of their own
      await sleep(1);
      gc();
    }
  }

  function newGroup(): ExpertGroup {
    return new ExpertGroup({ numRanks: 4, device: 'cuda' });
  }

  /** Ids of 64 tokens, all of which choose this expert in all of 8 slots. */
  function idsOf(expert: number): { readonly data: Int32Array; readonly shape: readonly [number, number] } {
    return { data: new Int32Array(512).fill(expert), shape: [64, 8] };
  }

  /** The same on the GPU, and ready for use on any stream. */
  function tensorOf(expert: number): DeviceTensor {
    const { data, shape } = idsOf(expert);
    const tensor = DeviceTensor.from(data, shape);
    Stream.current.synchronize();
    return tensor;
  }

  /** Keeps a stream busy, and returns the event behind that. */
  function busyUntil(stream = new Stream(), milliseconds = busyMilliseconds): EventOverlap {
    library.sleepOnStream(stream.handle, milliseconds);
    return stream.record();
  }

  function numbers(value: number, length = 64): DeviceTensor {
    return DeviceTensor.from(new Int32Array(length).fill(value));
  }

  /** Allocates what is free by now, on streams that wait for nothing. */
  async function takeFreeMemory(): Promise<readonly DeviceTensor[]> {
    await sleep(20);
    return Array.from({ length: 12 }, (_, i) => {
      const stream = new Stream();
      const taken = stream.run(() => numbers(9, i % 2 ? 64 : 12));
      stream.synchronize();
      return taken;
    });
  }

  /** Keeps a stream busy, and lets it copy memory then. Returns a function that waits for the copy, and reads it. */
  function copyLater(memory: DeviceTensor, stream: Stream): () => Promise<number> {
    const target = Stream.default.run(() => numbers(0));
    Stream.default.synchronize();
    library.sleepOnStream(stream.handle, busyMilliseconds);
    library.copyOnStream(target.pointer, memory.pointer, memory.byteLength, stream.handle);
    const event = stream.record();
    return async () => {
      await event.wait();
      return target.toTypedArray()[0] as number;
    };
  }

  /** A tensor of sevens, and work that reads it later. */
  interface Used {
    readonly tensor: DeviceTensor;
    readonly copied: () => Promise<number>;
    /** The stream of the work, if that still exists. */
    readonly stream?: Stream;
    /** What is done when garbage was collected. */
    readonly later?: () => void;
  }

  function sevensOn(stream = new Stream()): DeviceTensor {
    const tensor = stream.run(() => numbers(7));
    stream.synchronize();
    return tensor;
  }

  const uses: readonly [string, () => Used][] = [
    [
      'the stream that it was made on',
      () => {
        const stream = new Stream();
        const tensor = sevensOn(stream);
        return { tensor, copied: copyLater(tensor, stream), stream };
      },
    ],
    [
      'the stream that it was made on, which is gone',
      () => {
        const stream = new Stream();
        const tensor = sevensOn(stream);
        return { tensor, copied: copyLater(tensor, stream) };
      },
    ],
    [
      'the stream that it was made on, whose handle another one has by now',
      () => {
        const stream = new Stream();
        const tensor = sevensOn(stream);
        const others: Stream[] = [];
        const later = () => {
          for (let i = 0; i < 20; i++) others.push(new Stream());
        };
        return { tensor, copied: copyLater(tensor, stream), later };
      },
    ],
    [
      'the stream that it was made on, when another one was recorded',
      () => {
        const stream = new Stream();
        const tensor = sevensOn(stream);
        tensor.recordStream(new Stream());
        return { tensor, copied: copyLater(tensor, stream) };
      },
    ],
    [
      'a stream that was recorded, and is gone',
      () => {
        const [tensor, stream] = [sevensOn(), new Stream()];
        tensor.recordStream(stream);
        return { tensor, copied: copyLater(tensor, stream) };
      },
    ],
    [
      'a stream that was recorded, and is gone when another one is recorded',
      () => {
        const [tensor, stream] = [sevensOn(), new Stream()];
        tensor.recordStream(stream);
        return { tensor, copied: copyLater(tensor, stream), later: () => tensor.recordStream(new Stream()) };
      },
    ],
    [
      'a stream that was recorded before another one',
      () => {
        const [tensor, stream] = [sevensOn(), new Stream()];
        const copied = copyLater(tensor, stream);
        tensor.recordStream(stream);
        // Uses that are over are forgotten now, and only these
        tensor.recordStream(new Stream());
        return { tensor, copied };
      },
    ],
    [
      'a stream that was recorded before it copied the tensor to the host',
      () => {
        const [tensor, stream] = [sevensOn(), new Stream()];
        tensor.recordStream(stream);
        stream.run(() => tensor.toTypedArray());
        return { tensor, copied: copyLater(tensor, stream) };
      },
    ],
    [
      'a stream that was recorded after it copied the tensor to the host',
      () => {
        const [tensor, stream] = [sevensOn(), new Stream()];
        stream.run(() => tensor.toTypedArray());
        const copied = copyLater(tensor, stream);
        tensor.recordStream(stream);
        return { tensor, copied };
      },
    ],
    [
      'a stream that copied the tensor to the host twice',
      () => {
        const [tensor, stream] = [sevensOn(), new Stream()];
        stream.run(() => tensor.toTypedArray());
        const copied = copyLater(tensor, stream);
        void stream.run(() => tensor.toTypedArrayAsync());
        return { tensor, copied };
      },
    ],
  ];
  for (const [stream, use] of uses) {
    it(`memory stays until the work is done of ${stream}`, async () => {
      const used = use();
      await collect();
      used.later?.();
      used.tensor.dispose();
      await takeFreeMemory();
      assert.strictEqual(await used.copied(), 7);
      used.stream?.synchronize();
    });
  }

  it('memory stays until the work is done of a stream whose handle was that of its own stream, which is gone', async function () {
    const made = new Map<bigint, DeviceTensor>();
    (() => {
      for (let i = 0; i < 8; i++) {
        const stream = new Stream();
        made.set(stream.handle, sevensOn(stream));
      }
    })();
    await collect();
    const streams: Stream[] = [];
    do streams.push(new Stream());
    while (!made.has((streams.at(-1) as Stream).handle) && streams.length < 100);
    const stream = streams.at(-1) as Stream;
    const tensor = made.get(stream.handle);
    if (tensor === undefined) return this.skip();
    const copied = copyLater(tensor, stream);
    tensor.recordStream(stream);
    tensor.dispose();
    await takeFreeMemory();
    assert.strictEqual(await copied(), 7);
  });

  it('an array that is copied to the GPU later is not mixed up with the next one', () => {
    const stream = new Stream();
    busyUntil(stream);
    const first = stream.run(() => numbers(7));
    const second = numbers(9);
    assert.strictEqual(stream.run(() => first.toTypedArray())[0], 7);
    assert.strictEqual(second.toTypedArray()[0], 9);
  });

  it('memory stays until a copy of it to the host is done', async () => {
    const [tensor, stream] = [sevensOn(), new Stream()];
    busyUntil(stream);
    const copy = stream.run(() => tensor.toTypedArrayAsync());
    tensor.dispose();
    await takeFreeMemory();
    assert.isTrue((await copy).every((value) => value === 7));
  });

  it('memory that others may open is given back only when nothing uses it', () => {
    const stream = new Stream();
    const recorded = DeviceTensor.from(new Int32Array(64), [64], { shareable: true });
    const isRecorded = busyUntil(stream);
    recorded.recordStream(stream);
    recorded.dispose();
    assert.isTrue(isRecorded.done, 'a recorded stream');
    const isWritten = busyUntil(stream);
    stream.run(() => DeviceTensor.from(new Int32Array(64), [64], { shareable: true })).dispose();
    assert.isTrue(isWritten.done, 'the copy from the host');
  });

  for (const what of ['new counts', 'a new mask', 'outputs that were given', 'the ids'] as const) {
    it(`${what} of a layout stay until the layout is over`, async () => {
      const group = newGroup();
      const topkIdx = new Stream().run(() => tensorOf(3));
      const side = new Stream();
      const given =
        what === 'outputs that were given' ? side.run(() => group.getDispatchLayout(topkIdx, 8, legal)) : undefined;
      side.synchronize();
      const layout = group.getDispatchLayout(topkIdx, numExperts, {
        ...asynchronous,
        previousEvent: busyUntil(),
        ...(given && { out: given }),
      });
      if (what === 'new counts')
        for (const each of [layout.numTokensPerRank, layout.numTokensPerExpert]) each.dispose();
      if (what === 'a new mask') layout.isTokenInRank.dispose();
      if (what === 'the ids') topkIdx.dispose();
      given?.[Symbol.dispose]();
      const others = await takeFreeMemory();
      await layout.event.wait();
      for (const other of others) assert.isTrue(other.toTypedArray().every((value) => value === 9));
      if (what === 'the ids') assert.strictEqual(layout.numTokensPerExpert.toTypedArray()[3], 512);
    });
  }

  it('outputs of the communication stream stay until the work is done of the stream that was current', async () => {
    const group = newGroup();
    const topkIdx = tensorOf(0);
    const stream = new Stream();
    const options = { ...asynchronous, mask: 'none', allocateOnCommStream: true } as const;
    const copied = stream.run(() => {
      const previousEvent = group.capture();
      const layout = group.getDispatchLayout(topkIdx, numExperts, { ...options, previousEvent });
      layout.event.currentStreamWait();
      const copied = copyLater(layout.numTokensPerExpert, stream);
      layout[Symbol.dispose]();
      return copied;
    });
    // The next layout would take the same memory
    const previousEvent = new Stream().record();
    const other = new Stream().run(() => tensorOf(5));
    const next = group.getDispatchLayout(other, numExperts, { ...options, previousEvent });
    await next.event.wait();
    assert.strictEqual(await copied(), 512);
  });

  it('the tables of a group that is gone stay until its layouts are over', async () => {
    // So many tokens are counted by several blocks of threads, which need scratch memory
    const topkIdx = DeviceTensor.from(new Int32Array(2 ** 15).fill(3), [2 ** 12, 8]);
    Stream.current.synchronize();
    // Only the tables may be given back. Other memory would be given back first, and they behind it
    const { counts, event } = (() => {
      // The ids and the layout keep what is needed for them, and with it the group. The counts and a view do not
      const view = topkIdx.strided([2 ** 12, 8], [8, 1]);
      const group = new ExpertGroup({ numRanks: 4, device: 'cuda', placement: [3, 2, 1, 0, 3, 2, 1, 0] });
      const options = { ...asynchronous, mask: 'none', previousEvent: busyUntil() } as const;
      const { numTokensPerRank, event } = group.getDispatchLayout(view, numExperts, options);
      return { counts: numTokensPerRank, event };
    })();
    await collect();
    await takeFreeMemory();
    await event.wait();
    assert.deepStrictEqual([...counts.toTypedArray()], [2 ** 12, 0, 0, 0]);
  });

  it('what a layout of a group that is gone finds is not taken for what a layout of another group has found', async () => {
    const good = tensorOf(3);
    const isBusy = busyUntil();
    (() => {
      // A tensor keeps what its last layout needs, and with it the group
      const group = newGroup();
      group.getDispatchLayout(tensorOf(3), numExperts);
      group.getDispatchLayout(tensorOf(99), numExperts, { asyncFinish: true, previousEvent: isBusy });
    })();
    await collect();
    const group = newGroup();
    group.getDispatchLayout(good, numExperts);
    const later = busyUntil(new Stream(), 3 * busyMilliseconds);
    const second = group.getDispatchLayout(good, numExperts, { asyncFinish: true, previousEvent: later });
    await isBusy.wait();
    await sleep(50);
    const third = group.getDispatchLayout(good, numExperts, { asyncFinish: true });
    for (const { event } of [second, third]) await event.wait();
  });

  it('the results of a layout of host arrays that nobody waits for do not come to another one', async () => {
    const [group, other] = [newGroup(), newGroup()];
    for (const each of [group, other]) each.getDispatchLayout(idsOf(3), numExperts);
    const isBusy = busyUntil();
    (() => group.getDispatchLayout(idsOf(5), numExperts, { asyncFinish: true, previousEvent: isBusy }))();
    await collect();
    const later = other.getDispatchLayout(idsOf(3), numExperts, { asyncFinish: true });
    await isBusy.wait();
    group.getDispatchLayout(idsOf(1), numExperts);
    await later.event.wait();
    assert.deepStrictEqual([...later.numTokensPerExpert], [0, 0, 0, 512, 0, 0, 0, 0]);
  });

  it('a copy to the host that nobody waits for does not come to another one', async function () {
    const path = process.env.DISPATCH_LAYOUT_CUDA_ADDON;
    if (path === undefined) return this.skip();
    // The library waits for every copy, so this one is made without it
    const addon: CudaAddon = createRequire(import.meta.url)(path);
    const [busy, idle] = [new Stream(), new Stream()];
    const native = (stream: Stream) => addon.wrapStream(0, stream.handle);
    const filled = (value: number) => {
      const memory = addon.allocate(256, native(idle), false);
      addon.upload(memory, 0, new Int32Array(64).fill(value), native(idle));
      return memory;
    };
    const [ones, twos] = [filled(1), filled(2)];
    idle.synchronize();
    const isBusy = busyUntil(busy);
    (() => addon.download(ones, 0, 256, native(busy)))();
    await collect();
    const later = addon.download(twos, 0, 256, native(idle));
    await isBusy.wait();
    busy.synchronize();
    const target = new Int32Array(64);
    addon.finishDownload(later, target);
    assert.isTrue(target.every((value) => value === 2));
  });

  it('layouts of one group run one after the other, whichever streams they are on', async () => {
    const group = newGroup();
    const topkIdx = tensorOf(3);
    for (const next of ['a layout of host arrays', 'a layout of tensors', 'an asynchronous one'] as const) {
      const stream = new Stream();
      const isBusy = busyUntil(stream);
      stream.run(() => group.getDispatchLayout(topkIdx, numExperts, legal));
      const other = new Stream();
      await other.run(async () => {
        if (next === 'a layout of host arrays') group.getDispatchLayout(idsOf(3), numExperts);
        else if (next === 'a layout of tensors') group.getDispatchLayout(topkIdx, numExperts, legal);
        else await group.getDispatchLayout(topkIdx, numExperts, asynchronous).event.wait();
      });
      other.synchronize();
      assert.isTrue(isBusy.done, next);
    }
  });

  it('a layout of host arrays waits for the current stream if it is asynchronous, and for its previous event', async () => {
    const group = newGroup();
    const stream = new Stream();
    const isBusy = busyUntil(stream);
    const { event } = stream.run(() => group.getDispatchLayout(idsOf(3), numExperts, { asyncFinish: true }));
    await event.wait();
    assert.isTrue(isBusy.done, 'the current stream');
    const previousEvent = busyUntil(stream);
    group.getDispatchLayout(idsOf(3), numExperts, { previousEvent });
    assert.isTrue(previousEvent.done, 'the previous event');
  });
});
