/** The readers of `.npy` and `.npz`, over files of every form and over damaged ones. */
import { assert } from 'chai';
import fc from 'fast-check';
import { zipSync } from 'fflate';
import type { StoredArray } from '../../ts/routing/contents.ts';
import { Gatherer } from '../../ts/routing/gather.ts';
import type { RoutingErrorCode } from '../../ts/routing/routing-error.ts';
import { idTypes } from '../../ts/values/id-types.ts';
import { denseStrides } from '../../ts/values/shape.ts';
import { headerText, type NpyForm, npyFile, plainForm, writeNpy } from '../cli/npy-writer.ts';
import { openBytes, refusal, workOrRefuse } from './reading.ts';

/** The only array of a file. */
async function arrayIn(bytes: Uint8Array, array?: string): Promise<StoredArray> {
  const contents = await openBytes(bytes, { array });
  if (contents.kind !== 'arrays') assert.fail(`these are ${contents.kind}`);
  assert.lengthOf(contents.arrays, 1);
  return contents.arrays[0];
}

/** The elements of an array, in C order. */
async function elements(array: StoredArray): Promise<bigint[]> {
  const { shape, strides, type } = array;
  const into = denseStrides(shape);
  const data = new idTypes[type].array(shape.reduce((product, length) => product * length, 1));
  const dimensions = shape.map((length, axis) => ({ length, from: strides[axis], into: into[axis] }));
  await new Gatherer(array).gather(0, dimensions, data, 0);
  return Array.from(data as ArrayLike<number | bigint>, BigInt);
}

async function expectRefusal(
  bytes: Uint8Array,
  code: RoutingErrorCode,
  message: RegExp,
  array?: string,
): Promise<void> {
  const error = await refusal(async () => elements(await arrayIn(bytes, array)));
  assert.match(error.message, message);
  assert.strictEqual(error.code, code, error.message);
}

/** Settings that give the same cases every time. `DISPATCH_LAYOUT_TEST_RUNS` multiplies the number of cases. */
const fuzz = (numRuns: number) => ({
  numRuns: Math.ceil(numRuns * Number(process.env.DISPATCH_LAYOUT_TEST_RUNS ?? 1)),
  seed: 20261123,
});

const forms: fc.Arbitrary<NpyForm> = fc.record({
  size: fc.constantFrom(1, 2, 4, 8),
  signed: fc.boolean(),
  bigEndian: fc.boolean(),
  fortranOrder: fc.boolean(),
  version: fc.constantFrom(1 as const, 2 as const, 3 as const),
  padding: fc.nat(70),
});

const arrays = fc.tuple(forms, fc.array(fc.nat(5), { minLength: 1, maxLength: 4 })).chain(([form, shape]) => {
  const count = shape.reduce((product, length) => product * length, 1);
  const bits = BigInt(8 * form.size);
  const [min, max] = form.signed ? [-(1n << (bits - 1n)), (1n << (bits - 1n)) - 1n] : [0n, (1n << bits) - 1n];
  const values = fc.array(fc.bigInt({ min, max }), { minLength: count, maxLength: count });
  return fc.record({ form: fc.constant(form), shape: fc.constant(shape), values });
});

/** Changes of a few bytes, at places in a file of this length. */
const damageOf = (length: number) =>
  fc.array(fc.tuple(fc.nat(length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });

async function readOrRefuse(bytes: Uint8Array): Promise<void> {
  await workOrRefuse(async () => {
    const contents = await openBytes(bytes);
    if (contents.kind === 'arrays') for (const array of contents.arrays) await elements(array);
  });
}

describe('routing: .npy', function () {
  this.timeout(30_000);

  it('reads every integer type, byte order, element order and version', () =>
    fc.assert(
      fc.asyncProperty(arrays, async ({ form, shape, values }) => {
        const array = await arrayIn(writeNpy(values, shape, form));
        assert.deepEqual(array.shape, shape);
        assert.strictEqual(array.type, `${form.signed ? '' : 'u'}int${8 * form.size}`);
        assert.deepEqual(await elements(array), values);
      }),
      fuzz(500),
    ));

  it('reads the headers of other writers', async () => {
    for (const header of [
      `{"descr": "|u1", "fortran_order": False, "shape": (2, 3)}`,
      `{'shape': (2L, 3L), 'fortran_order': False, 'descr': '|u1'}`,
      `{'descr':'<u1','fortran_order':False,'shape':(2,3)}`,
      `  {'descr': 'u1', 'fortran_order': False, 'shape': (2, 3,), }   `,
    ]) {
      assert.deepEqual((await arrayIn(npyFile(header, new Uint8Array(6)))).shape, [2, 3], header);
    }
  });

  it('refuses a file that ends too early, wherever it ends, and one that is too long', async () => {
    const file = writeNpy([1n, 2n, 3n, 4n], [2, 2]);
    for (let length = 1; length < file.length; length++) {
      await expectRefusal(file.subarray(0, length), 'DAMAGED', /truncated|damaged/);
    }
    const tooLong = /is too long: the header promises int64 \[2, 2\], 32 bytes, and 33 follow/;
    await expectRefusal(Buffer.concat([file, Buffer.from([0])]), 'DAMAGED', tooLong);
  });

  it('refuses types that are not integers, with the remedy', async () => {
    const withType = (descr: string, message: RegExp): Promise<void> => {
      const header = `{'descr': ${descr}, 'fortran_order': False, 'shape': (1, 1), }`;
      return expectRefusal(npyFile(header, new Uint8Array(8)), 'NOT_ROUTING', message);
    };
    await withType("'<f4'", /float32.*top-k.*astype/);
    await withType("'<f8'", /float64/);
    await withType("'<c16'", /complex/);
    await withType("'|b1'", /booleans/);
    await withType("'|O'", /pickled Python objects/);
    await withType("'<U4'", /text/);
    await withType("'<M8[ns]'", /'M8\[ns\]'/);
    await withType("'<i16'", /'i16'/);
    await withType("[('a', '<i4'), ('b', '<i4')]", /structured array/);
  });

  it('refuses damaged headers', async () => {
    const withHeader = (header: string, message: RegExp): Promise<void> =>
      expectRefusal(npyFile(header, new Uint8Array(8)), 'DAMAGED', message);
    const rest = "'fortran_order': False, 'shape': (1, 1)";
    await withHeader('hello', /not a Python dict/);
    await withHeader('{}', /'descr' is missing/);
    await withHeader(`{'descr': '<i8'}`, /'fortran_order' is missing/);
    await withHeader(`{'descr': '<i8', ${rest}, 'more': 1}`, /unknown keys/);
    await withHeader(`{'descr': '<i8', 'descr': '<i8', ${rest}}`, /'descr' twice/);
    await withHeader(`{'descr': '<i8', 'fortran_order': Maybe, 'shape': (1, 1)}`, /'fortran_order' is Maybe/);
    await withHeader(`{'descr': 7, ${rest}}`, /'descr' is 7/);
    await withHeader(
      `{'descr': '<i8', 'fortran_order': False, 'shape': (${'1, '.repeat(65)})}`,
      /'shape' has 65 dimensions, and numpy 64 at most/,
    );
    for (const shape of ['(-1, 1)', '(1.5, 1)', '(a, 1)', '(1 1)', '7', '(, )']) {
      await withHeader(`{'descr': '<i8', 'fortran_order': False, 'shape': ${shape}}`, /damaged|shape/);
    }
  });

  it('refuses shapes and headers that no file can hold, at once', async () => {
    for (const shape of ['(99999999999, 8)', '(9007199254740993, 8)', `(${'9'.repeat(400)}, 8)`]) {
      const header = `{'descr': '<i8', 'fortran_order': False, 'shape': ${shape}, }`;
      await expectRefusal(npyFile(header, new Uint8Array(8)), 'DAMAGED', /truncated|damaged/);
    }
    const hugeHeader = Buffer.from('\x93NUMPY\x02\x00\xff\xff\xff\xff{}', 'latin1');
    await expectRefusal(hugeHeader, 'TOO_LARGE', /claims an .npy header of 4294967295 bytes/);
    await expectRefusal(Buffer.from('\x93NUMPY\x09\x00\x10\x00{}', 'latin1'), 'UNSUPPORTED', /version 9/);
    await expectRefusal(Buffer.from('\x93NUMPX\x01\x00\x10\x00{}', 'latin1'), 'DAMAGED', /magic bytes are damaged/);
  });

  it('reads or refuses any damaged file', () => {
    const file = writeNpy([1n, 2n, 3n, 4n, 5n, 6n], [2, 3], { ...plainForm, padding: 5 });
    return fc.assert(
      fc.asyncProperty(damageOf(file.length), fc.nat(file.length), async (changes, length) => {
        const damaged = Buffer.from(file);
        for (const [position, byte] of changes) damaged[position] = byte;
        await readOrRefuse(damaged);
        await readOrRefuse(damaged.subarray(0, length));
      }),
      fuzz(1000),
    );
  });

  it('reads or refuses any header text', async () => {
    const token = fc.oneof(
      fc.constantFrom("'descr'", "'shape'", "'fortran_order'", ':', ',', '{', '}', '(', ')', '[', ']', 'True', 'False'),
      fc.constantFrom("'<i8'", '"', "'", ' ', '\n', '0', '1', '18446744073709551616', '\\', '\x00', 'L'),
      fc.string({ maxLength: 3 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(token, { maxLength: 24 }), (tokens) =>
        readOrRefuse(npyFile(`{${tokens.join('')}}`, new Uint8Array(8))),
      ),
      fuzz(1000),
    );
    // These texts would make a careless regular expression backtrack endlessly.
    for (const text of [
      '(1,'.repeat(9000),
      `'shape': (${'1, '.repeat(9000)}x)`,
      ' '.repeat(60_000),
      `{${"'".repeat(9000)}`,
    ]) {
      await readOrRefuse(npyFile(`{${text}}`, new Uint8Array(8), 2));
    }
  });
});

describe('routing: .npz', function () {
  this.timeout(30_000);
  const file = (value: bigint): Uint8Array => writeNpy([value, 7n], [1, 2]);
  const several = zipSync({ 'ids.npy': file(5n), 'scores.npy': file(6n), 'notes.txt': new Uint8Array(3) });
  const directoryOf = (archive: Buffer): number => archive.indexOf(Buffer.from('PK\x01\x02', 'latin1'));

  it('reads the only array, or the named one, stored and deflated', async () => {
    assert.deepEqual(await elements(await arrayIn(zipSync({ 'arr_0.npy': file(3n) }))), [3n, 7n]);
    assert.deepEqual(await elements(await arrayIn(zipSync({ 'arr_0.npy': file(3n) }, { level: 0 }))), [3n, 7n]);
    assert.deepEqual(await elements(await arrayIn(several, 'scores')), [6n, 7n]);
    assert.deepEqual(await elements(await arrayIn(several, 'ids')), [5n, 7n]);
  });

  it('lists the arrays, and says of those that are not integers what they are', async () => {
    const floats = npyFile(`{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }`, new Uint8Array(8));
    const contents = await openBytes(zipSync({ 'ids.npy': file(5n), 'scores.npy': floats }));
    if (contents.kind !== 'arrays') assert.fail();
    assert.deepEqual(
      contents.arrays.map(({ name }) => name),
      ['ids'],
    );
    assert.deepEqual(contents.others, [{ name: 'scores', what: 'float32 [1, 2]' }]);
  });

  it('says what to do with an archive that holds no array', async () => {
    const none = /is an \.npz without arrays; save one with numpy\.savez/;
    await expectRefusal(zipSync({}), 'NOT_ROUTING', none);
    const notes = zipSync({ 'notes.txt': new Uint8Array(3), 'more.txt': new Uint8Array(3) });
    await expectRefusal(
      notes,
      'NOT_ROUTING',
      /a zip archive without an \.npy array \(notes\.txt, more\.txt\); save one/,
    );
  });

  it('refuses an archive that holds an array twice, and methods that it does not know', async () => {
    const twice = Buffer.from(zipSync({ 'ids.npy': file(1n), 'idx.npy': file(2n) }));
    twice.write('ids.npy', twice.lastIndexOf('idx.npy'));
    await expectRefusal(twice, 'DAMAGED', /damaged: it holds array 'ids' twice/, 'ids');
    const strange = Buffer.from(zipSync({ 'ids.npy': file(1n) }));
    strange.writeUInt16LE(14, directoryOf(strange) + 10);
    await expectRefusal(strange, 'UNSUPPORTED', /packed by method 14, which is not read; save it with numpy\.savez/);
  });

  it('looks at thousands of arrays, and at one of more than that if it is named', async () => {
    const ids = writeNpy([1n, 2n], [1, 2]);
    const scores = npyFile("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", new Uint8Array(4));
    const archive = (count: number) => {
      const others = Object.fromEntries(Array.from({ length: count }, (_, index) => [`w${index}.npy`, scores]));
      return zipSync({ ...others, 'ids.npy': ids }, { level: 1 });
    };
    assert.deepEqual(await elements(await arrayIn(archive(4095))), [1n, 2n]);
    await expectRefusal(
      archive(4096),
      'CHOICE',
      /holds 4097 arrays, and no more than 4096 are looked at; .* array: 'w0'/,
    );
    assert.deepEqual(await elements(await arrayIn(archive(4096), 'ids')), [1n, 2n]);
  });

  it('refuses data with a wrong checksum', async () => {
    for (const level of [0, 6] as const) {
      const forged = Buffer.from(zipSync({ 'ids.npy': file(1n) }, { level }));
      forged.writeUInt32LE(1, directoryOf(forged) + 16);
      await expectRefusal(forged, 'DAMAGED', /damaged: its checksum/);
    }
  });

  it('refuses an array that unpacks to less or more than it claims', async () => {
    const { length } = file(1n);
    for (const claimed of [length + 1, length - 1, 10, 0x7fff_ffff]) {
      const forged = Buffer.from(zipSync({ 'ids.npy': file(1n) }));
      forged.writeUInt32LE(claimed, directoryOf(forged) + 24);
      await expectRefusal(forged, 'DAMAGED', /damaged|truncated|too long/);
    }
  });

  it('reads or refuses any damaged archive', async () => {
    const archive = zipSync({ 'ids.npy': file(5n) });
    for (let length = 2; length < archive.length; length++) {
      await expectRefusal(archive.subarray(0, length), 'DAMAGED', /is a damaged or truncated zip archive/);
    }
    await fc.assert(
      fc.asyncProperty(damageOf(archive.length), async (changes) => {
        const damaged = Buffer.from(archive);
        for (const [position, byte] of changes) damaged[position] = byte;
        await readOrRefuse(damaged);
      }),
      fuzz(500),
    );
  });

  it('reads or refuses any bytes behind the magic ones', () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom('\x93NUMPY\x01\x00', '\x93NUMPY\x03\x00', 'PK\x05\x06', 'PK\x03\x04'),
        fc.uint8Array(),
        (start, rest) => readOrRefuse(Buffer.concat([Buffer.from(start, 'latin1'), rest])),
      ),
      fuzz(500),
    ));

  it('is tested with the header that numpy writes', () => {
    assert.strictEqual(headerText(plainForm, [2, 3]), "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }");
  });
});
