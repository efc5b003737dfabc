/** The readers of `.npy`, `.npz` and JSON. They run in this process, since properties need thousands of files. */
import { assert } from 'chai';
import fc from 'fast-check';
import { zipSync } from 'fflate';
import { UsageError } from '../../ts/cli/fail.ts';
import { placementContent, routingContent } from '../../ts/cli/read/content.ts';
import type { IntegerNdarray } from '../../ts/cli/read/integer-ndarray.ts';
import { parseArray } from '../../ts/cli/read/read-array.ts';
import { formatNpy } from '../../ts/cli/write/npy.ts';
import { headerText, indices, type NpyForm, npyFile, plainForm, writeNpy } from './npy-writer.ts';

/** The same bytes at an odd position in a larger buffer, as if they came from a pool. */
function atOffset(bytes: Uint8Array, offset: number): Uint8Array<ArrayBuffer> {
  const padded = new Uint8Array(bytes.length + offset);
  padded.set(bytes, offset);
  return padded.subarray(offset);
}

function parse(bytes: Uint8Array, arrayName?: string, content = routingContent): IntegerNdarray {
  return parseArray(atOffset(bytes, 0), content, 'FILE', arrayName);
}

function elements(array: IntegerNdarray): bigint[] {
  return [...indices(array.shape)].map((index) => {
    const position = index.reduce((sum, each, dimension) => sum + each * array.strides[dimension], 0);
    return BigInt(array.data[position]);
  });
}

/** The message with which a file is refused. It must be refused. */
function refusal(bytes: Uint8Array, arrayName?: string, content = routingContent): string {
  try {
    parse(bytes, arrayName, content);
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return assert.fail('the file was accepted');
}

/** Checks that a hostile file is read or refused, and that nothing else happens. */
function readOrRefuse(bytes: Uint8Array): void {
  try {
    const array = parse(bytes);
    assert.strictEqual(
      array.data.length,
      array.shape.reduce((product, length) => product * length, 1),
    );
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    assert.isAbove(error.message.length, 0);
  }
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

describe('command line: reading files', function () {
  this.timeout(30_000);

  describe('.npy', () => {
    it('reads every integer type, byte order, element order, version and alignment', () => {
      fc.assert(
        fc.property(arrays, fc.nat(9), ({ form, shape, values }, offset) => {
          const array = parseArray(atOffset(writeNpy(values, shape, form), offset), routingContent, 'FILE');
          assert.deepEqual(array.shape, shape);
          assert.strictEqual(array.dtype, `${form.signed ? '' : 'u'}int${8 * form.size}`);
          assert.deepEqual(elements(array), values);
        }),
        fuzz(500),
      );
    });

    it('reads files that the command writes', () => {
      const array = parse(formatNpy(Int32Array.of(1, -2, 3, 4, 5, 6), [2, 3]));
      assert.deepEqual(array.shape, [2, 3]);
      assert.deepEqual(array.data, Int32Array.of(1, -2, 3, 4, 5, 6));
    });

    it('reads the headers of other writers', () => {
      const data = new Uint8Array(6);
      for (const header of [
        `{"descr": "|u1", "fortran_order": False, "shape": (2, 3)}`,
        `{'shape': (2L, 3L), 'fortran_order': False, 'descr': '|u1'}`,
        `{'descr':'<u1','fortran_order':False,'shape':(2,3)}`,
        `  {'descr': 'u1', 'fortran_order': False, 'shape': (2, 3,), }   `,
      ]) {
        assert.deepEqual(parse(npyFile(header, data)).shape, [2, 3], header);
      }
    });

    it('refuses a file that ends too early, wherever it ends, and one that is too long', () => {
      const file = writeNpy([1n, 2n, 3n, 4n], [2, 2]);
      for (let length = 0; length < file.length; length++) {
        assert.match(refusal(file.subarray(0, length)), /truncated|damaged|is empty/, `${length} bytes`);
      }
      assert.match(
        refusal(Buffer.concat([file, Buffer.from([0])])),
        /too long: the header promises int64 \[2, 2\], 32 bytes, and 33 follow/,
      );
    });

    it('refuses types that are not integers, with the remedy', () => {
      const withType = (descr: string): string =>
        refusal(npyFile(`{'descr': ${descr}, 'fortran_order': False, 'shape': (1, 1), }`, new Uint8Array(8)));
      assert.match(withType("'<f4'"), /float32.*top-k.*astype/);
      assert.match(withType("'<f8'"), /float64/);
      assert.match(withType("'<c16'"), /complex/);
      assert.match(withType("'|b1'"), /booleans/);
      assert.match(withType("'|O'"), /pickled Python objects/);
      assert.match(withType("'<U4'"), /text/);
      assert.match(withType("'<M8[ns]'"), /'M8\[ns\]'/);
      assert.match(withType("'<i16'"), /'i16'/);
      assert.match(withType("[('a', '<i4'), ('b', '<i4')]"), /structured array/);
    });

    it('refuses damaged headers', () => {
      const withHeader = (header: string): string => refusal(npyFile(header, new Uint8Array(8)));
      const rest = "'fortran_order': False, 'shape': (1, 1)";
      assert.match(withHeader('hello'), /not a Python dict/);
      assert.match(withHeader('{}'), /'descr' is missing/);
      assert.match(withHeader(`{'descr': '<i8'}`), /'fortran_order' is missing/);
      assert.match(withHeader(`{'descr': '<i8', ${rest}, 'more': 1}`), /unknown keys/);
      assert.match(withHeader(`{'descr': '<i8', 'descr': '<i8', ${rest}}`), /'descr' twice/);
      assert.match(withHeader(`{'descr': '<i8', 'fortran_order': Maybe, 'shape': (1, 1)}`), /'fortran_order' is Maybe/);
      assert.match(withHeader(`{'descr': 7, ${rest}}`), /'descr' is 7/);
      for (const shape of ['(-1, 1)', '(1.5, 1)', '(a, 1)', '(1 1)', '7', '(, )']) {
        assert.match(withHeader(`{'descr': '<i8', 'fortran_order': False, 'shape': ${shape}}`), /damaged|shape/, shape);
      }
    });

    it('refuses shapes and headers that no file can hold, at once', () => {
      for (const shape of ['(99999999999, 8)', '(9007199254740993, 8)', `(${'9'.repeat(400)}, 8)`]) {
        const header = `{'descr': '<i8', 'fortran_order': False, 'shape': ${shape}, }`;
        assert.match(refusal(npyFile(header, new Uint8Array(8))), /truncated|damaged/, shape);
      }
      const hugeHeader = Buffer.from('\x93NUMPY\x02\x00\xff\xff\xff\xff{}', 'latin1');
      assert.match(refusal(hugeHeader), /claims an .npy header of 4294967295 bytes/);
      assert.match(refusal(Buffer.from('\x93NUMPY\x09\x00\x10\x00{}', 'latin1')), /version 9/);
      assert.match(refusal(Buffer.from('\x93NUMPX\x01\x00\x10\x00{}', 'latin1')), /magic bytes are damaged/);
    });

    it('reads or refuses any damaged file', () => {
      const file = writeNpy([1n, 2n, 3n, 4n, 5n, 6n], [2, 3], { ...plainForm, padding: 5 });
      const damage = fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(damage, fc.nat(file.length), (changes, length) => {
          const damaged = Buffer.from(file);
          for (const [position, byte] of changes) damaged[position] = byte;
          readOrRefuse(damaged);
          readOrRefuse(damaged.subarray(0, length));
        }),
        fuzz(2000),
      );
    });

    it('reads or refuses any header text', () => {
      const token = fc.oneof(
        fc.constantFrom(
          "'descr'",
          "'shape'",
          "'fortran_order'",
          ':',
          ',',
          '{',
          '}',
          '(',
          ')',
          '[',
          ']',
          'True',
          'False',
        ),
        fc.constantFrom("'<i8'", '"', "'", ' ', '\n', '0', '1', '18446744073709551616', '\\', '\x00', 'L'),
        fc.string({ maxLength: 3 }),
      );
      fc.assert(
        fc.property(fc.array(token, { maxLength: 24 }), (tokens) => {
          readOrRefuse(npyFile(`{${tokens.join('')}}`, new Uint8Array(8)));
        }),
        fuzz(2000),
      );
      // These texts would make a careless regular expression backtrack endlessly.
      for (const text of [
        '(1,'.repeat(9000),
        `'shape': (${'1, '.repeat(9000)}x)`,
        ' '.repeat(60_000),
        `{${"'".repeat(9000)}`,
      ]) {
        readOrRefuse(npyFile(`{${text}}`, new Uint8Array(8), 2));
      }
    });
  });

  describe('.npz', () => {
    const file = (value: bigint): Uint8Array => writeNpy([value, 7n], [1, 2]);
    const several = zipSync({ 'ids.npy': file(5n), 'scores.npy': file(6n), 'notes.txt': new Uint8Array(3) });

    it('reads the only array, or the named one', () => {
      assert.deepEqual(elements(parse(zipSync({ 'arr_0.npy': file(3n) }))), [3n, 7n]);
      assert.deepEqual(elements(parse(zipSync({ 'arr_0.npy': file(3n) }, { level: 0 }))), [3n, 7n]);
      assert.deepEqual(elements(parse(several, 'scores')), [6n, 7n]);
      assert.deepEqual(elements(parse(several, 'ids')), [5n, 7n]);
    });

    it('lists the names if none or a wrong one is given', () => {
      assert.match(refusal(several), /2 arrays \(ids, scores\).*--array NAME/);
      assert.match(refusal(several, 'id'), /no array 'id'; it has ids, scores/);
      assert.match(refusal(file(1n), 'ids'), /--array chooses from an .npz file; FILE is an .npy file/);
      assert.match(refusal(Buffer.from('[[1]]'), 'ids'), /FILE is JSON/);
    });

    it('says what to do with an archive that holds no array', () => {
      assert.match(
        refusal(zipSync({ 'archive/data.pkl': new Uint8Array(3) })),
        /FILE is a PyTorch file, without an \.npy array; save with numpy\.save\(path, topk_idx\.cpu/,
      );
      assert.match(refusal(zipSync({})), /FILE is an \.npz without arrays; save one with numpy\.savez/);
      assert.match(
        refusal(zipSync({ 'notes.txt': new Uint8Array(3), 'more.txt': new Uint8Array(3) })),
        /FILE is a zip archive without an \.npy array \(notes\.txt, more\.txt\); save one with numpy\.savez/,
      );
    });

    it('refuses an archive that claims to unpack to more than the limit, without unpacking it', () => {
      const bomb = Buffer.from(zipSync({ 'ids.npy': file(1n) }));
      const directory = bomb.indexOf(Buffer.from('PK\x01\x02', 'latin1'));
      bomb.writeUInt32LE(0x7fffffff, directory + 24);
      assert.match(refusal(bomb), /unpacks to 2147483647 bytes; the limit is 1073741824/);
    });

    it('refuses an archive that holds the array twice, and methods that it does not know', () => {
      const twice = Buffer.from(zipSync({ 'ids.npy': file(1n), 'idx.npy': file(2n) }));
      twice.write('ids.npy', twice.lastIndexOf('idx.npy'));
      assert.match(refusal(twice, 'ids'), /damaged: it holds array 'ids' twice/);
      const strange = Buffer.from(zipSync({ 'ids.npy': file(1n) }));
      strange.writeUInt16LE(14, strange.indexOf(Buffer.from('PK\x01\x02', 'latin1')) + 10);
      assert.match(refusal(strange), /packed by method 14, which is not read; save it with numpy\.savez/);
    });

    it('refuses data with a wrong checksum', () => {
      for (const level of [0, 6] as const) {
        const forged = Buffer.from(zipSync({ 'ids.npy': file(1n) }, { level }));
        forged.writeUInt32LE(1, forged.indexOf(Buffer.from('PK\x01\x02', 'latin1')) + 16);
        assert.match(refusal(forged), /damaged: its checksum/);
      }
    });

    it('refuses an array that unpacks to less than it claims, and never reads more', () => {
      const zipped = zipSync({ 'ids.npy': file(1n) });
      for (const claimed of [file(1n).length + 1, file(1n).length - 1, 10]) {
        const forged = Buffer.from(zipped);
        forged.writeUInt32LE(claimed, forged.indexOf(Buffer.from('PK\x01\x02', 'latin1')) + 24);
        assert.match(refusal(forged), /damaged|truncated/, `${claimed}`);
      }
    });

    it('reads or refuses any damaged archive', () => {
      const archive = zipSync({ 'ids.npy': file(5n) });
      for (let length = 2; length < archive.length; length++) {
        assert.match(refusal(archive.subarray(0, length)), /damaged or truncated|without arrays/);
      }
      const damage = fc.array(fc.tuple(fc.nat(archive.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(damage, (changes) => {
          const damaged = Buffer.from(archive);
          for (const [position, byte] of changes) damaged[position] = byte;
          readOrRefuse(damaged);
        }),
        fuzz(1000),
      );
    });
  });

  describe('JSON', () => {
    const json = (text: string): Buffer => Buffer.from(text);

    it('reads nested arrays of one to three dimensions', () => {
      const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 });
      fc.assert(
        fc.property(shapes, fc.boolean(), fc.boolean(), (shape, wide, spaced) => {
          const values = [...indices(shape)].map((_, position) =>
            wide && position === 0 ? 2 ** 32 + 5 : position - 1,
          );
          const nested = [...shape]
            .reverse()
            .reduce<unknown[]>(
              (level, length) =>
                Array.from({ length: level.length / length }, (_, i) => level.slice(i * length, (i + 1) * length)),
              values,
            )[0];
          const array = parse(json(`${spaced ? '\ufeff \n\t' : ''}${JSON.stringify(nested, null, spaced ? 2 : 0)}\n`));
          assert.deepEqual(array.shape, shape);
          assert.strictEqual(array.dtype, wide ? 'int64' : 'int32');
          assert.deepEqual(elements(array), values.map(BigInt));
        }),
      );
    });

    it('reads or refuses any damaged text', () => {
      const text = json('[[[0, 5, -1], [6, 1e2, 0]], [[1, 0, 7], [2, 3, 4]]]');
      const damage = fc.array(fc.tuple(fc.nat(text.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
      fc.assert(
        fc.property(damage, fc.nat(text.length), (changes, length) => {
          const damaged = Buffer.from(text);
          for (const [position, byte] of changes) damaged[position] = byte;
          readOrRefuse(damaged);
          readOrRefuse(damaged.subarray(0, length));
        }),
        fuzz(1000),
      );
      fc.assert(
        fc.property(fc.json(), (document) => readOrRefuse(json(document))),
        fuzz(500),
      );
    });

    it('refuses numbers that JavaScript cannot hold exactly, and prints the digits of the file', () => {
      for (const [text, position, digits] of [
        ['[[0, 9007199254740993]]', '[0][1]', '9007199254740993'],
        ['[[-1, 2e1], [3,\n-9007199254740992 ]]', '[1][1]', '-9007199254740992'],
        ['[[[7], [1e400]]]', '[0][1][0]', '1e400'],
        [`[[${'9'.repeat(1000)}]]`, '[0][0]', `${'9'.repeat(40)}…`],
      ]) {
        const problem = `FILE: element ${position} is ${digits}, too large to be read exactly from JSON`;
        assert.strictEqual(refusal(json(text)), `${problem}; correct it, or save the expert ids as .npy`);
      }
      assert.deepEqual(elements(parse(json('[[9007199254740991, -9007199254740991]]'))), [
        9007199254740991n,
        -9007199254740991n,
      ]);
    });

    it('refuses everything else, saying where', () => {
      assert.match(
        refusal(json('[[1, 2], [3]]')),
        /element \[1\] has 1 elements, but the first array at this depth has 2/,
      );
      assert.match(refusal(json('[[1, 2], 3]')), /element \[1\] is 3 where others are arrays/);
      assert.match(refusal(json('[1, [2]]')), /element \[1\] is an array where others are numbers/);
      assert.match(refusal(json('[[1, 2.5]]')), /element \[0\]\[1\] is 2.5, not an integer/);
      assert.match(refusal(json('[[1, null]]')), /element \[0\]\[1\] is null, not an integer/);
      assert.match(refusal(json('[[1, "2"]]')), /element \[0\]\[1\] is "2", not an integer/);
      assert.match(refusal(json('[[1, 1e-300]]')), /is 1e-300, not an integer/);
      assert.match(refusal(json('[[[[1]]]]')), /nested deeper/);
      assert.match(refusal(json('{"a": 1}')), /not a nested array/);
      assert.match(refusal(json('7')), /not a nested array: 7/);
      assert.match(refusal(json('[[1, 2]')), /not valid JSON/);
      assert.match(refusal(json('[[NaN]]')), /not valid JSON/);
      assert.match(refusal(Buffer.from([0x5b, 0xff, 0x5d])), /not valid JSON/);
      assert.match(refusal(json('['.repeat(100_000))), /not valid JSON|nested deeper/);
      assert.match(refusal(json('['.repeat(100_000) + ']'.repeat(100_000))), /not valid JSON|nested deeper/);
    });
  });

  it('calls the numbers of a placement ranks', () => {
    const refused = (bytes: Uint8Array): string => {
      const message = refusal(bytes, undefined, placementContent);
      assert.notMatch(message, /expert ids|top-?k|layers|--array/, message);
      return message;
    };
    for (const type of ['<f4', '<c16', '|b1', '<U4', '<i16', '|O']) {
      const header = `{'descr': '${type}', 'fortran_order': False, 'shape': (1, 1), }`;
      assert.match(refused(npyFile(header, new Uint8Array(8))), /not ranks; |never read; /);
    }
    const fields = "{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (1, 1), }";
    assert.match(refused(npyFile(fields, new Uint8Array(8))), /the one field that holds the ranks/);
    assert.match(refused(Buffer.from('hello')), /numpy\.save\(path, placement\)/);
    assert.match(refused(Buffer.from('[[[[1]]]]')), /nested deeper than \[experts\]/);
    assert.match(refused(Buffer.from('[9007199254740993]')), /element \[0\] is 9007199254740993, .*save the ranks as/);
    assert.match(refused(zipSync({})), /numpy\.savez\(path, placement\)/);
    const two = zipSync({ 'a.npy': writeNpy([1n], [1]), 'b.npy': writeNpy([1n], [1]) });
    assert.match(refused(two), /holds 2 arrays \(a, b\); save the placement alone, as \.npy/);
  });

  it('says what a file of another kind is', () => {
    assert.match(refusal(new Uint8Array()), /is empty/);
    assert.match(refusal(Buffer.from([0x1f, 0x8b, 8, 0])), /gzip -dc/);
    assert.match(refusal(Buffer.from('hello')), /neither .npy nor .npz nor JSON/);
    assert.match(refusal(Buffer.from([0x80, 2, 0x8a])), /neither .npy/);
  });

  it('reads or refuses any bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), readOrRefuse), fuzz(500));
    fc.assert(
      fc.property(
        fc.constantFrom('\x93NUMPY\x01\x00', '\x93NUMPY\x03\x00', 'PK\x05\x06', 'PK\x03\x04', '[[1'),
        fc.uint8Array(),
        (start, rest) => readOrRefuse(Buffer.concat([Buffer.from(start, 'latin1'), rest])),
      ),
      fuzz(1000),
    );
  });

  it('is tested with the header that numpy writes', () => {
    assert.strictEqual(headerText(plainForm, [2, 3]), "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }");
  });
});
