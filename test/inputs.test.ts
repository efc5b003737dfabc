/** Every accepted form of `topkIdx`, `out` and `placement`, and hostile objects in their place. */
import vm from 'node:vm';
import { assert } from 'chai';
import { getDispatchLayout, type LayoutArrays, type LayoutOptions, type TopkIdxInput } from 'dispatch-layout';
import { answer, type ExpectedLayout, outputNames } from './conformance/oracle.ts';
import { detached, growableBuffer, resizableBuffer } from './support/buffers.ts';
import { describeOnEachDevice } from './support/each-device.ts';
import { expectArrays, expectError, expectSameMemory } from './support/expect.ts';
import { expectUntouched, isUntouched, markedArrays } from './support/marked-arrays.ts';
import { type IdArray, idTypeNames, idTypes, storageOf } from './support/topk-storage.ts';

const rows = [
  [0, 1, 7],
  [2, 7, -1],
  [5, 4, 5],
  [-1, 3, 6],
];
const flat = rows.flat();
const group = { numRanks: 4, numRanksPerNode: 2 };
const numExperts = 8;

function expectedFor(ids: readonly (readonly (number | bigint)[])[]): ExpectedLayout {
  const result = answer({ ...group, numExperts, rows: ids.map((row) => row.map(BigInt)) });
  return 'layout' in result ? result.layout : assert.fail('the test asks for a valid request');
}

const expected = expectedFor(rows);
const int64 = () => BigInt64Array.from(flat, BigInt);

const freshOut = () => markedArrays({ ...group, numTokens: 4, numExperts });

/** A tensor like those of ONNX Runtime: all its properties are getters of a prototype. */
class Tensor {
  readonly #data: BigInt64Array;
  readonly #dims: readonly number[];

  constructor(data: BigInt64Array, dims: readonly number[]) {
    this.#data = data;
    this.#dims = dims;
  }

  get data() {
    return this.#data;
  }

  get dims() {
    return this.#dims;
  }

  get type() {
    return 'int64';
  }
}

class OwnArray extends Int32Array {}

/** Counts how often each property of an object is read. */
function counted<Target extends object>(
  target: Target,
): { readonly proxy: Target; readonly reads: Map<string, number> } {
  const reads = new Map<string, number>();
  const proxy = new Proxy(target, {
    get(object, key, receiver) {
      if (typeof key === 'string') reads.set(key, (reads.get(key) ?? 0) + 1);
      return Reflect.get(object, key, receiver);
    },
  });
  return { proxy, reads };
}

/** An object whose property gives one value when it is first read, and another from then on. */
function changing(object: object, property: string, first: unknown, then: unknown): object {
  let reads = 0;
  return Object.defineProperty({ ...object }, property, {
    get() {
      reads += 1;
      return reads === 1 ? first : then;
    },
  });
}

describeOnEachDevice('accepted forms of topkIdx', (device) => {
  const forms: Record<string, () => TopkIdxInput> = {
    'an ONNX tensor': () => ({ data: int64(), dims: [4, 3], type: 'int64' }),
    'an ONNX tensor of int32': () => ({ data: Int32Array.from(flat), dims: [4, 3], type: 'int32' }),
    'an ONNX tensor without type': () => ({ data: int64(), dims: [4, 3] }),
    'an ONNX tensor behind getters': () => new Tensor(int64(), [4, 3]),
    'an ndarray with stride and offset': () => ({
      data: Int32Array.of(99, ...flat),
      shape: [4, 3],
      stride: [3, 1],
      offset: 1,
    }),
    'an npy array': () => ({ dtype: '<i8', data: int64(), shape: [4, 3], fortranOrder: false }),
    'an npy array in Fortran order': () => ({
      data: Int8Array.from([0, 2, 5, -1, 1, 7, 4, 3, 7, -1, 5, 6]),
      shape: [4, 3],
      fortranOrder: true,
    }),
    'both strides and stride: strides are used': () => ({
      data: int64(),
      shape: [4, 3],
      strides: [3, 1],
      stride: [1, 4],
    }),
    'both strides and fortranOrder: strides are used': () => ({
      data: int64(),
      shape: [4, 3],
      strides: [3, 1],
      fortranOrder: true,
    }),
    'an offset without strides': () => ({ data: Int16Array.of(1, 1, ...flat, 1), shape: [4, 3], offset: 2 }),
    'strides without offset': () => ({ data: Int16Array.of(...flat, 1), shape: [4, 3], strides: [3, 1] }),
    'a shape in a typed array': () =>
      ({ data: int64(), shape: Int32Array.of(4, 3), strides: Int32Array.of(3, 1) }) as unknown as TopkIdxInput,
    'undefined where a property is optional': () =>
      ({
        data: int64(),
        shape: [4, 3],
        dims: undefined,
        type: undefined,
        strides: undefined,
        stride: undefined,
        offset: undefined,
        fortranOrder: undefined,
      }) as unknown as TopkIdxInput,
    'a frozen object': () => Object.freeze({ data: int64(), shape: Object.freeze([4, 3]) }),
    'an object without prototype': () => Object.assign(Object.create(null), { data: int64(), shape: [4, 3] }),
    'a view at an odd place of a buffer': () => {
      const data = new Int16Array(new ArrayBuffer(100), 34, 12);
      data.set(flat);
      return { data, shape: [4, 3] };
    },
    'a 64-bit view at an odd place of a buffer': () => {
      const data = new BigInt64Array(new ArrayBuffer(200), 40, 12);
      data.set(int64());
      return { data, shape: [4, 3] };
    },
    'a subclass of a typed array': () => ({ data: OwnArray.from(flat), shape: [4, 3] }),
    'nested arrays of numbers': () => rows,
    'nested arrays of bigints': () => rows.map((row) => row.map(BigInt)),
    'nested arrays of both': () => rows.map((row, token) => (token % 2 === 0 ? row.map(BigInt) : row)),
    'nested arrays, frozen': () => Object.freeze(rows.map((row) => Object.freeze([...row]))),
    'a negative zero': () => rows.map((row) => row.map((id) => (id === 0 ? -0 : id))),
    'nested arrays of another realm': () => vm.runInNewContext(JSON.stringify(rows)),
    'a shape of another realm': () => ({ data: int64(), shape: vm.runInNewContext('[4, 3]') }),
  };
  for (const [name, makeForm] of Object.entries(forms)) {
    it(name, () => expectArrays(device.getDispatchLayout(makeForm(), numExperts, group), expected));
  }

  const fits = rows.map((row) => row.map((id) => Math.max(id, 0)));
  for (const type of idTypeNames) {
    const shape = [4, 3];
    const makeData = () => storageOf(type, fits).data;
    /** The same elements in other memory. */
    const over = (buffer: ArrayBufferLike): IdArray => {
      const array = new idTypes[type](buffer as ArrayBuffer, 8, 12);
      array.set(makeData() as never);
      return array;
    };

    it(`${type} of another realm`, () => {
      const ids = type.endsWith('64') ? fits.flat().map((id) => `${id}n`) : fits.flat();
      const data: IdArray = vm.runInNewContext(`${makeData().constructor.name}.from([${ids}])`);
      assert.isFalse(data instanceof idTypes[type], 'of another realm');
      expectArrays(device.getDispatchLayout({ data, shape }, numExperts, group), expectedFor(fits));
      const strided = { data, shape: [3, 3], strides: [-3, 1], offset: 9 };
      expectArrays(device.getDispatchLayout(strided, numExperts, group), expectedFor(fits.slice(1).reverse()));
    });

    it(`${type} over a SharedArrayBuffer`, () => {
      const data = over(new SharedArrayBuffer(200));
      expectArrays(device.getDispatchLayout({ data, shape }, numExperts, group), expectedFor(fits));
      const strided = { data, shape: [3, 3], strides: [-3, 1], offset: 9 };
      expectArrays(device.getDispatchLayout(strided, numExperts, group), expectedFor(fits.slice(1).reverse()));
      const part = { data, shape: [2, 3], offset: 3 };
      expectArrays(device.getDispatchLayout(part, numExperts, group), expectedFor(fits.slice(1, 3)));
    });

    it(`${type} over a resizable buffer`, () => {
      for (const buffer of [resizableBuffer(200, 400), growableBuffer(200, 400)]) {
        const data = over(buffer);
        expectArrays(device.getDispatchLayout({ data, shape }, numExperts, group), expectedFor(fits));
      }
    });
  }

  it("Node's Buffer", () => {
    const data = Buffer.from(fits.flat());
    expectArrays(device.getDispatchLayout({ data, shape: [4, 3] }, numExperts, group), expectedFor(fits));
  });

  it('the error of a tensor names the value in the tensor', () => {
    const data = int64();
    data[7] = 2n ** 40n;
    const position = { code: 'INVALID_EXPERT', token: 2, slot: 1 };
    expectError(() => device.getDispatchLayout(new Tensor(data, [4, 3]), numExperts, group), {
      ...position,
      value: 2n ** 40n,
    });
  });

  for (const id of [
    2 ** 53,
    1e300,
    -1e300,
    2 ** 32 + 5,
    -(2 ** 31),
    2 ** 31,
    2 ** 32 - 1,
    2n ** 70n + 3n,
    -(2n ** 64n) - 1n,
    -2n,
    8n,
    2n ** 64n - 1n,
  ]) {
    it(`nested arrays: ${id} (${typeof id}) is not an expert, and is not truncated`, () => {
      const topkIdx = [
        [0, 1],
        [7, id],
      ];
      const found = { code: 'INVALID_EXPERT', token: 1, slot: 1, value: id };
      expectError(() => device.getDispatchLayout(topkIdx, numExperts, group), found);
      const layout = device.getDispatchLayout(topkIdx, numExperts, group, { invalidExperts: 'ignore' });
      expectArrays(
        layout,
        expectedFor([
          [0, 1],
          [7, -1],
        ]),
      );
    });
  }
});

describeOnEachDevice('accepted forms of out', (device) => {
  const topkIdx = { data: int64(), shape: [4, 3] };

  const forms: Record<string, () => LayoutArrays> = {
    'arrays of the caller': freshOut,
    'arrays over SharedArrayBuffers': () =>
      markedArrays({ ...group, numTokens: 4, numExperts }, { allocate: (bytes) => new SharedArrayBuffer(bytes) }),
    'a longer isTokenInRank': () => markedArrays({ ...group, numTokens: 4, numExperts }, { extraMask: 83 }),
    frozen: () => Object.freeze(freshOut()),
    "Node's Buffer as isTokenInRank": () => ({ ...freshOut(), isTokenInRank: Buffer.alloc(16) }),
  };
  for (const [name, makeForm] of Object.entries(forms)) {
    it(name, () => {
      const out = makeForm();
      const layout = device.getDispatchLayout(topkIdx, numExperts, group, { out });
      expectArrays(layout, expected);
      expectArrays({ ...out, isTokenInRank: out.isTokenInRank.subarray(0, 16) }, expected);
      expectSameMemory(layout, out);
      assert.isTrue(isUntouched(out.isTokenInRank.subarray(16)));
    });
  }

  it('arrays of another realm', () => {
    const arrays = Object.entries(freshOut()).map(
      ([name, array]) => `${name}: new ${array.constructor.name}(${array.length})`,
    );
    const out: LayoutArrays = vm.runInNewContext(`({ ${arrays} })`);
    const layout = device.getDispatchLayout(topkIdx, numExperts, group, { out });
    assert.strictEqual(layout.numTokensPerRank, out.numTokensPerRank);
    for (const name of outputNames)
      assert.deepStrictEqual(Array.from(out[name] ?? []), [...(expected[name] ?? [])], name);
  });

  it('an earlier result of more tokens, several times', () => {
    let out = device.getDispatchLayout(topkIdx, numExperts, group);
    const { buffer } = out.isTokenInRank;
    out = device.getDispatchLayout(rows.slice(0, 2), numExperts, group, { out });
    assert.strictEqual(out.numTokens, 2);
    assert.strictEqual(out.isTokenInRank.buffer, buffer);
    expectArrays(out, expectedFor(rows.slice(0, 2)));
  });

  it('undefined within one node, where numTokensPerRdmaRank is null', () => {
    const { numTokensPerRank, numTokensPerExpert, isTokenInRank } = freshOut();
    const out = { numTokensPerRank, numTokensPerExpert, isTokenInRank } as unknown as LayoutArrays;
    const layout = device.getDispatchLayout(topkIdx, numExperts, { numRanks: 4 }, { out });
    expectArrays(layout, { ...expected, numTokensPerRdmaRank: null });
  });

  it('arrays side by side in one buffer, also in that of topkIdx', () => {
    const buffer = new ArrayBuffer(400);
    const data = new BigInt64Array(buffer, 0, 12);
    data.set(int64());
    const out = {
      numTokensPerRank: new Int32Array(buffer, 96, 4),
      numTokensPerRdmaRank: new Int32Array(buffer, 112, 2),
      numTokensPerExpert: new Int32Array(buffer, 120, 8),
      isTokenInRank: new Uint8Array(buffer, 152, 16),
    };
    device.getDispatchLayout({ data, shape: [4, 3] }, numExperts, group, { out });
    expectArrays(out, expected);
    assert.deepStrictEqual([...data], [...int64()]);
  });
});

describeOnEachDevice('unusual forms of topkIdx', (device) => {
  const run = (topkIdx: TopkIdxInput) => device.getDispatchLayout(topkIdx, numExperts, group);

  it('no slots, whatever the offset is', () => {
    for (const offset of [-5, 0, 4, 100]) {
      const layout = run({ data: new Int32Array(4), shape: [3, 0], strides: [7, -9], offset });
      assert.deepStrictEqual([...layout.isTokenInRank], new Array(12).fill(0));
    }
  });

  it('rows that are typed arrays', () => {
    const rows = [0, 1, 2, 3].map((token) => Int16Array.from(flat.slice(token * 3, token * 3 + 3)));
    expectArrays(run(rows), expected);
    expectError(() => run([new Int16Array(3), new Float32Array(3)]), { code: 'TOPK_SHAPE' });
  });

  it('nested arrays with an empty id that only uint64 can hold, or that is not exact as a number', () => {
    const forms: (readonly [bigint, ArrayLike<number | bigint>])[] = [
      [2n ** 64n - 1n, [0n, 2n ** 64n - 1n]],
      [2n ** 64n - 1n, BigUint64Array.of(0n, 2n ** 64n - 1n)],
      [2n ** 63n, [0, 2 ** 63]],
    ];
    for (const [emptyId, row] of forms) {
      const layout = device.getDispatchLayout([row], numExperts, group, { emptyId });
      expectArrays(layout, expectedFor([[0, -1]]));
      expectError(() => device.getDispatchLayout([row], numExperts, group, { emptyId: emptyId + 1n }), {
        code: 'INVALID_EXPERT',
      });
    }
  });

  it('a tensor with the types of ONNX Runtime, and properties that are undefined', () => {
    const data: BigInt64Array | Float32Array | string[] = int64();
    const tensor: { data: typeof data; dims: readonly number[]; type: string } = { data, dims: [4, 3], type: 'int64' };
    expectArrays(run(tensor), expected);
    expectArrays(run({ data: int64(), shape: [4, 3], strides: undefined, offset: undefined }), expected);
  });
});

describeOnEachDevice('hostile objects', (device) => {
  const run = (topkIdx: unknown, options: LayoutOptions = {}) =>
    device.getDispatchLayout(topkIdx as TopkIdxInput, numExperts, group, options);

  it('every property of topkIdx is read at most once', () => {
    const { proxy, reads } = counted({ data: int64(), shape: [4, 3], strides: [3, 1], offset: 0, fortranOrder: false });
    expectArrays(run(proxy), expected);
    for (const [property, count] of reads) assert.strictEqual(count, 1, property);
    assert.includeMembers([...reads.keys()], ['data', 'shape', 'strides', 'offset']);
  });

  it('every property of a tensor is read at most once', () => {
    const { proxy, reads } = counted({ data: int64(), dims: [4, 3], type: 'int64' });
    expectArrays(run(proxy), expected);
    for (const [property, count] of reads) assert.strictEqual(count, 1, property);
  });

  it('every property of out and of the options is read at most once', () => {
    const out = counted(freshOut());
    const options = counted({ out: out.proxy, invalidExperts: 'throw' as const, asyncFinish: false });
    expectArrays(run({ data: int64(), shape: [4, 3] }, options.proxy), expected);
    for (const [property, count] of [...out.reads, ...options.reads]) assert.strictEqual(count, 1, property);
    assert.sameMembers(Object.keys(freshOut()), [...out.reads.keys()]);
  });

  it('every number of a shape, of strides and of nested arrays is read at most once', () => {
    const shape = counted([4, 3]);
    const strides = counted([3, 1]);
    const nested = rows.map(counted);
    expectArrays(run({ data: int64(), shape: shape.proxy, strides: strides.proxy }), expected);
    expectArrays(run(nested.map(({ proxy }) => proxy)), expected);
    for (const { reads } of [shape, strides, ...nested]) {
      for (const [property, count] of reads) if (/^\d/.test(property)) assert.strictEqual(count, 1, property);
    }
  });

  const whole = { data: int64(), shape: [4, 3], strides: [3, 1], offset: 0 };
  for (const [property, then] of Object.entries({
    data: new BigInt64Array(1),
    shape: [4000, 3000],
    strides: [1e6, 1e6],
    offset: 1e6,
  })) {
    it(`a ${property} that changes after it was read`, () => {
      const first = whole[property as keyof typeof whole];
      expectArrays(run(changing(whole, property, first, then)), expected);
    });
  }

  it('an out whose arrays change after they were read', () => {
    const out = freshOut();
    const hostile = changing(out, 'isTokenInRank', out.isTokenInRank, new Uint8Array(0)) as LayoutArrays;
    expectArrays(run(whole, { out: hostile }), expected);
    expectArrays(out, expected);
  });

  it('an out whose getter gives the array of another output', () => {
    const out = freshOut();
    const hostile = { ...out, numTokensPerRank: out.numTokensPerExpert.subarray(0, 4) };
    expectError(() => run(whole, { out: hostile }), { code: 'OUT' });
    expectUntouched(out);
  });

  for (const property of ['data', 'shape', 'strides', 'offset']) {
    it(`a ${property} whose getter throws: the error reaches the caller, and nothing is written`, () => {
      const error = new Error('from the getter');
      const hostile = Object.defineProperty({ ...whole }, property, {
        get() {
          throw error;
        },
      });
      const out = freshOut();
      assert.throws(() => run(hostile, { out }), error.message);
      expectUntouched(out);
      expectArrays(run(whole, { out }), expected);
    });
  }

  it('a data getter that calls the library: both results are right', () => {
    const inner: LayoutArrays[] = [];
    const hostile = {
      get data() {
        inner.push(run([[7, 0]]));
        return int64();
      },
      shape: [4, 3],
    };
    expectArrays(run(hostile), expected);
    expectArrays(inner[0], expectedFor([[7, 0]]));
  });

  it('a data getter that detaches the arrays of out is an error', () => {
    const out = freshOut();
    const options = {
      get out() {
        return out;
      },
    };
    const hostile = {
      get data() {
        detached(out.isTokenInRank);
        return int64();
      },
      shape: [4, 3],
    };
    expectError(() => run(hostile, options), { code: 'DETACHED_BUFFER' });
    expectUntouched(out);
  });

  it('an out getter that detaches the data of topkIdx is an error, and nothing is written', () => {
    const data = int64();
    const out = freshOut();
    const hostile = Object.defineProperty({ ...out }, 'numTokensPerRank', {
      get() {
        detached(data);
        return out.numTokensPerRank;
      },
    });
    expectError(() => run({ data, shape: [4, 3] }, { out: hostile }), { code: 'DETACHED_BUFFER' });
    expectUntouched(out);
  });

  it('a typed array that lies about its length', () => {
    class Liar extends Int32Array {
      override get length() {
        return 3000;
      }
    }
    const data = Liar.from(flat);
    Object.defineProperty(data, 'length', { value: 3000 });
    expectError(() => run({ data, shape: [1000, 3] }), { code: 'TOPK_SHAPE' });
    expectError(() => run({ data, shape: [1000, 3], strides: [3, 1] }), { code: 'TOPK_SHAPE' });
  });

  it('an out array that lies about its length', () => {
    const isTokenInRank = new Uint8Array(3);
    Object.defineProperty(isTokenInRank, 'length', { value: 16 });
    expectError(() => run(whole, { out: { ...freshOut(), isTokenInRank } }), { code: 'OUT' });
  });

  it('arrays over a buffer that has shrunk', () => {
    for (const length of [undefined, 12]) {
      const buffer = resizableBuffer(96, 200);
      const data = new BigInt64Array(buffer, 0, length);
      const isTokenInRank = new Uint8Array(buffer, 0, length && 16);
      buffer.resize(8);
      expectError(() => run({ data, shape: [4, 3] }), { code: 'TOPK_SHAPE' });
      const out = { ...freshOut(), isTokenInRank };
      expectError(() => run(whole, { out }), { code: 'OUT' });
      assert.isTrue(isUntouched(out.numTokensPerRank));
    }
  });

  it('a typed array with its own method set', () => {
    const isTokenInRank = new Uint8Array(16).fill(9);
    Object.defineProperty(isTokenInRank, 'set', { value: () => undefined });
    const { isTokenInRank: expected } = run(whole);
    assert.deepEqual([...run(whole, { out: { ...freshOut(), isTokenInRank } }).isTokenInRank], [...expected]);
  });

  it('an object that claims to be a typed array', () => {
    const data = { ...flat, length: 12, [Symbol.toStringTag]: 'BigInt64Array' };
    expectError(() => run({ data, shape: [4, 3] }), { code: 'TOPK_TYPE' });
    expectError(() => run({ data: Object.create(int64()), shape: [4, 3] }), { code: 'TOPK_TYPE' });
    expectError(() => run({ data: new Proxy(int64(), {}), shape: [4, 3] }), { code: 'TOPK_TYPE' });
  });

  it('nested arrays that grow while they are read', () => {
    const growing: unknown[] = [];
    const row = (first: number) =>
      Object.defineProperty([first, 1], 0, {
        get() {
          if (growing.length < 100) growing.push([3, 3], [2 ** 40, 2 ** 40]);
          return first;
        },
      });
    growing.push(row(0), row(2));
    expectArrays(
      run(growing),
      expectedFor([
        [0, 1],
        [2, 1],
      ]),
    );
  });

  it('nested arrays that shrink while they are read', () => {
    const shrinking: unknown[] = [];
    const first = Object.defineProperty([0, 1], 0, {
      get() {
        shrinking.length = 1;
        return 0;
      },
    });
    shrinking.push(first, [2, 3], [4, 5]);
    expectError(() => run(shrinking), { code: 'TOPK_SHAPE' });
  });

  it('nested arrays whose length changes between reads', () => {
    let reads = 0;
    const inconsistent = new Proxy(
      [
        [0, 1],
        [2, 3],
      ],
      {
        get(target, key, receiver) {
          if (key !== 'length') return Reflect.get(target, key, receiver);
          reads += 1;
          return reads === 1 ? 2 : 1000;
        },
      },
    );
    expectArrays(
      run(inconsistent),
      expectedFor([
        [0, 1],
        [2, 3],
      ]),
    );
  });
});

describe('the free function reads its options once, too', () => {
  it('numRanks, numRanksPerNode, placement and device', () => {
    const { proxy, reads } = counted({ ...group, placement: [0, 0, 1, 1, 2, 2, 3, 3], device: 'auto' as const });
    for (const _ of [1, 2]) {
      reads.clear();
      expectArrays(getDispatchLayout(rows, numExperts, proxy), expected);
      for (const [property, count] of reads) assert.strictEqual(count, 1, property);
    }
  });
});
