/** DeviceTensor: copies to and from the GPU, views, pointers, sharing and lifetime. And Stream. */
import { assert } from 'chai';
import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
import { expectError, expectRejection } from '../support/expect.ts';
import { idTypeNames, idTypes } from '../support/topk-storage.ts';
import { describeOnCuda } from './on-cuda.ts';

describeOnCuda('DeviceTensor', () => {
  for (const type of idTypeNames) {
    it(`${type}: a copy back has the same elements`, async () => {
      const array = new idTypes[type](12);
      for (let i = 0; i < 12; i += 1)
        array[i] = array instanceof BigInt64Array || array instanceof BigUint64Array ? BigInt(i) : i;
      using tensor = DeviceTensor.from(array, [3, 4]);
      assert.strictEqual(tensor.dtype, type);
      assert.deepStrictEqual([...tensor.shape], [3, 4]);
      assert.strictEqual(tensor.size, 12);
      assert.strictEqual(tensor.byteLength, array.byteLength);
      assert.typeOf(tensor.pointer, 'bigint');
      assert.deepStrictEqual(tensor.toTypedArray(), array);
      assert.deepStrictEqual(await tensor.toTypedArrayAsync(), array);
    });
  }

  it('the array may be changed as soon as from returns', () => {
    const array = new Int32Array(1_000_000).fill(7);
    using tensor = DeviceTensor.from(array);
    array.fill(8);
    assert.isTrue(tensor.toTypedArray().every((value) => value === 7));
  });

  it('an asynchronous copy has the elements of the moment of the call', async () => {
    const tensor = DeviceTensor.from(new Int32Array(100_000).fill(1));
    const copies = [1, 2, 3].map(() => tensor.toTypedArrayAsync());
    tensor.dispose();
    using _other = DeviceTensor.from(new Int32Array(100_000).fill(2));
    for (const copy of await Promise.all(copies)) assert.isTrue(copy.every((value) => value === 1));
  });

  it('the shape and the strides cannot be changed, since the addon trusts them', () => {
    using tensor = DeviceTensor.from(new Int32Array(8), [4, 2]);
    using view = tensor.strided([2, 2], [4, 1]);
    for (const { shape, strides } of [tensor, view]) {
      assert.throws(() => (shape as number[]).fill(2 ** 22), TypeError);
      assert.throws(() => (strides as number[]).fill(2 ** 22), TypeError);
    }
    assert.deepStrictEqual(
      [tensor.shape, view.strides],
      [
        [4, 2],
        [4, 1],
      ],
    );
  });

  it('a tensor may have no elements', () => {
    using tensor = DeviceTensor.from(new BigInt64Array(0), [0, 8]);
    assert.strictEqual(tensor.toTypedArray().length, 0);
    using empty = DeviceTensor.empty([], 'int32');
    assert.strictEqual(empty.size, 1);
  });

  it('views have the right elements and bounds', () => {
    using wide = DeviceTensor.from(
      Int32Array.from({ length: 20 }, (_, i) => i),
      [4, 5],
    );
    using view = wide.strided([4, 2], [5, 1], 3);
    assert.strictEqual(view.pointer, wide.pointer + 12n);
    assert.isFalse(view.isContiguous);
    expectError(() => view.toTypedArray(), { code: 'TENSOR', message: /not contiguous/ });
    using row = wide.strided([5], [1], 10);
    assert.deepStrictEqual([...row.toTypedArray()], [10, 11, 12, 13, 14]);
    for (const [shape, strides, offset] of [
      [[4, 2], [5, 1], 4],
      [[2], [1], -1],
      [[2], [-1], 0],
      [[21], [1], 0],
    ] as const) {
      expectError(() => wide.strided(shape, strides, offset), { code: 'TENSOR', message: /beyond/ });
    }
    expectError(() => wide.strided([2], [1, 1]), { code: 'TENSOR', message: /strides/ });
  });

  it('a view keeps the memory of a tensor that was disposed of', () => {
    const tensor = DeviceTensor.from(Int32Array.of(1, 2, 3));
    using view = tensor.strided([2], [1], 1);
    tensor.dispose();
    using _other = DeviceTensor.from(Int32Array.of(9, 9, 9));
    assert.deepStrictEqual([...view.toTypedArray()], [2, 3]);
  });

  it('fromPointer wraps memory of other code', () => {
    using tensor = DeviceTensor.from(BigInt64Array.of(1n, 2n, 3n, 4n));
    using wrapped = DeviceTensor.fromPointer(tensor.pointer + 8n, [3], 'int64');
    assert.deepStrictEqual([...wrapped.toTypedArray()], [2n, 3n, 4n]);
    expectError(() => DeviceTensor.fromPointer(tensor.pointer + 4n, [1], 'int64'), {
      code: 'TENSOR',
      message: /aligned/,
    });
    for (const pointer of [2n ** 64n, -8n]) {
      expectError(() => DeviceTensor.fromPointer(pointer, [1], 'int64'), { code: 'TENSOR', message: /the pointer is/ });
    }
    using empty = DeviceTensor.fromPointer(0n, [0, 8], 'int64');
    assert.strictEqual(empty.toTypedArray().length, 0);
    expectError(() => DeviceTensor.fromPointer(64n, [1], 'int64'), {
      code: 'TENSOR',
      message: /no memory that CUDA knows/,
    });
  });

  it('only shareable memory has a handle for other processes', () => {
    using plain = DeviceTensor.empty([4], 'int32');
    expectError(() => plain.ipcHandle(), { code: 'TENSOR', message: /shareable/ });
    using shared = DeviceTensor.from(Int32Array.of(1, 2), [2], { shareable: true });
    assert.strictEqual(shared.ipcHandle().length, 64);
    using second = shared.strided([1], [1], 1);
    expectError(() => second.ipcHandle(), { code: 'TENSOR', message: /begins 4 bytes into/ });
    using first = shared.strided([1], [1]);
    assert.strictEqual(first.ipcHandle().length, 64);
    for (const handle of [new Uint8Array(63), new Int8Array(64), null]) {
      expectError(() => DeviceTensor.fromIpcHandle(handle as Uint8Array, [2], 'int32'), {
        code: 'TENSOR',
        message: /IPC handle/,
      });
    }
  });

  it('a tensor that was disposed of cannot be used', async () => {
    const tensor = DeviceTensor.from(Int32Array.of(1));
    assert.isFalse(tensor.isDisposed);
    tensor.dispose();
    tensor.dispose();
    assert.isTrue(tensor.isDisposed);
    for (const use of [() => tensor.toTypedArray(), () => tensor.pointer, () => tensor.recordStream(Stream.current)]) {
      expectError(use, { code: 'DISPOSED' });
    }
    await expectRejection(tensor.toTypedArrayAsync(), { code: 'DISPOSED' });
  });

  it('wrong arguments are refused', () => {
    const make = DeviceTensor.empty as (shape: unknown, dtype: unknown) => DeviceTensor;
    for (const shape of [undefined, 5, [-1], [1.5], ['2'], [2 ** 40, 2 ** 40]]) {
      expectError(() => make(shape, 'int32'), { code: 'TENSOR' });
    }
    for (const dtype of [undefined, 'float32', 'toString'])
      expectError(() => make([1], dtype), { code: 'TENSOR', message: /dtype/ });
    const from = DeviceTensor.from as (array: unknown, shape?: unknown) => DeviceTensor;
    expectError(() => from(new Float32Array(2)), { code: 'TENSOR', message: /Float32Array/ });
    expectError(() => from([1, 2], [2]), { code: 'TENSOR' });
    expectError(() => from(null), { code: 'TENSOR', message: /the elements are null/ });
    const emptyWith = DeviceTensor.empty as (shape: unknown, dtype: unknown, options: unknown) => DeviceTensor;
    expectError(() => emptyWith([1], 'int32', null), { code: 'TENSOR', message: /options/ });
    using tensor = DeviceTensor.empty([1], 'int32', { shareable: undefined });
    expectError(() => tensor.recordStream(null as unknown as Stream), { code: 'TENSOR', message: /stream/ });
    expectError(() => from(new Int32Array(2), [3]), { code: 'TENSOR', message: /shape/ });
    const gone = new Int32Array(2);
    structuredClone(gone, { transfer: [gone.buffer] });
    expectError(() => from(gone, [0]), { code: 'DETACHED_BUFFER' });
  });

  it('memory that does not fit is refused, and the next request is served', () => {
    expectError(() => DeviceTensor.empty([2 ** 40], 'int64'), {
      code: 'OUT_OF_MEMORY',
      message: /cudaErrorMemoryAllocation/,
    });
    using tensor = DeviceTensor.from(Int32Array.of(5));
    assert.deepStrictEqual([...tensor.toTypedArray()], [5]);
  });
});

describeOnCuda('Stream', () => {
  it('the default stream is current, unless another one runs', async () => {
    assert.strictEqual(Stream.current, Stream.default);
    assert.strictEqual(Stream.default.handle, 0n);
    assert.strictEqual(Stream.fromHandle(0n), Stream.default);
    const stream = new Stream();
    const inner = new Stream();
    assert.notStrictEqual(stream.handle, inner.handle);
    assert.strictEqual(
      stream.run(() => {
        assert.strictEqual(
          inner.run(() => Stream.current),
          inner,
        );
        return Stream.current;
      }),
      stream,
    );
    await stream.run(async () => {
      await Promise.resolve();
      assert.strictEqual(Stream.current, stream);
    });
    assert.throws(() => {
      stream.run(() => {
        throw new Error('inside');
      });
    }, 'inside');
    assert.strictEqual(Stream.current, Stream.default);
  });

  it('the constructors refuse arguments of callers', () => {
    const HandMade = { Stream, DeviceTensor } as unknown as Record<string, new (argument?: unknown) => unknown>;
    for (const handle of [5, 7n, 'stream']) {
      expectError(() => new HandMade.Stream(handle), { code: 'TENSOR', value: handle, message: /Stream\.fromHandle/ });
    }
    for (const memory of [undefined, null, new Int32Array(2)]) {
      expectError(() => new HandMade.DeviceTensor(memory), {
        code: 'TENSOR',
        value: memory,
        message: /DeviceTensor\.from/,
      });
    }
  });

  it('values that are not handles of streams are refused', () => {
    for (const handle of [5, null, -1n, 2n ** 64n]) {
      expectError(() => Stream.fromHandle(handle as bigint), { code: 'TENSOR', message: /handle of the stream/ });
    }
  });

  it('two Stream objects with the same handle are the same stream to the GPU', () => {
    const stream = new Stream();
    const same = Stream.fromHandle(stream.handle);
    assert.strictEqual(same.handle, stream.handle);
    using tensor = stream.run(() => DeviceTensor.from(Int32Array.of(3)));
    assert.deepStrictEqual([...same.run(() => tensor.toTypedArray())], [3]);
  });

  it('events order streams', async () => {
    const [first, second] = [new Stream(), new Stream()];
    using tensor = first.run(() => DeviceTensor.from(new Int32Array(3_000_000).fill(4)));
    const event = first.record();
    const copy = second.run(() => {
      event.currentStreamWait();
      return tensor.toTypedArrayAsync();
    });
    assert.isTrue((await copy).every((value) => value === 4));
    await event.wait();
    assert.isTrue(event.done);
    first.synchronize();
    await second.wait();
  });

  it('waiting does not block the event loop', async () => {
    const stream = new Stream();
    using _tensor = stream.run(() => DeviceTensor.from(new BigInt64Array(8_000_000)));
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 0);
    await Promise.all([stream.wait(), new Promise((resolve) => setTimeout(resolve, 20))]);
    clearInterval(timer);
    assert.isAbove(turns, 0);
  });
});
