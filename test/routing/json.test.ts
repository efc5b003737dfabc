/** JSON and JSONL, in all the shapes in which producers write routing. */
import { assert } from 'chai';
import fc from 'fast-check';
import { gridOfArrays } from '../../ts/routing/array-grid.ts';
import { type ByteSource, sourceOfBytes } from '../../ts/routing/byte-source.ts';
import type { ArrayContents, Contents, IdContents } from '../../ts/routing/contents.ts';
import { SharedReader, scanIntegers } from '../../ts/routing/formats/json/integer-source.ts';
import { JsonReader } from '../../ts/routing/formats/json/json-reader.ts';
import { ObjectWalker, TopObjects } from '../../ts/routing/formats/json/objects.ts';
import { RecordTable } from '../../ts/routing/formats/json/records.ts';
import { marginBytes } from '../../ts/routing/formats/text/byte-window.ts';
import type { ReadOptions } from '../../ts/routing/read-options.ts';
import { npyFile } from '../cli/npy-writer.ts';
import { asIds, idsOf, openBytes, openSource, readAll, refusal, tokensFirst, workOrRefuse } from './reading.ts';

const open = (text: string, options?: ReadOptions): Promise<Contents> => openBytes(Buffer.from(text), options);
const openIds = async (value: unknown, options?: ReadOptions): Promise<IdContents> =>
  asIds(await open(typeof value === 'string' ? value : JSON.stringify(value), options));

/** The one array in a file of nested arrays. */
function arrayOf(contents: Contents): ArrayContents['arrays'][number] {
  if (contents.kind !== 'arrays') assert.fail(`these are ${contents.kind}`);
  assert.lengthOf(contents.arrays, 1);
  return contents.arrays[0];
}

/** All integers of an array, in the order of the text. */
async function integersOf(contents: Contents): Promise<bigint[]> {
  const { source, type } = arrayOf(contents);
  const bytes = new Uint8Array(source.size);
  assert.strictEqual(await source.read(0, bytes), source.size);
  const integers = new (type === 'int64' ? BigInt64Array : Int32Array)(bytes.buffer);
  return Array.from<number | bigint, bigint>(integers, BigInt);
}

async function message(text: string, options?: ReadOptions): Promise<string> {
  return (await refusal(async () => readAll(await open(text, options)))).message;
}

/** Integers in nested arrays of the shape. */
function nest(shape: readonly number[], integers: readonly number[]): unknown {
  return [...shape]
    .reverse()
    .reduce<readonly unknown[]>(
      (level, length) =>
        Array.from({ length: level.length / length }, (_, index) => level.slice(index * length, (index + 1) * length)),
      integers,
    )[0];
}

const shapeOf = (value: unknown): number[] =>
  Array.isArray(value) ? [value.length, ...(value.length === 0 ? [] : shapeOf(value[0]))] : [];
const count = (length: number, first = 0): number[] => Array.from({ length }, (_, index) => first + index);

/** Settings that give the same cases every time. `DISPATCH_LAYOUT_TEST_RUNS` multiplies the number of cases. */
const fuzz = (numRuns: number) => ({
  numRuns: Math.ceil(numRuns * Number(process.env.DISPATCH_LAYOUT_TEST_RUNS ?? 1)),
  seed: 20261126,
});

describe('nested arrays in JSON', () => {
  it('have the shape and the integers of the text, however it is written', async () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 2, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(shapes, fc.boolean(), fc.boolean(), async (shape, isWide, isSpaced) => {
        const size = shape.reduce((product, length) => product * length, 1);
        const integers = count(size, -1);
        if (isWide) integers[0] = 2 ** 32 + 5;
        const text = JSON.stringify(nest(shape, integers), null, isSpaced ? 2 : 0);
        const contents = await open(`${isSpaced ? '\ufeff \r\n\t' : ''}${text}\n`);
        assert.strictEqual(contents.format, 'json');
        assert.deepEqual(arrayOf(contents).shape, shape);
        assert.strictEqual(arrayOf(contents).type, isWide ? 'int64' : 'int32');
        assert.deepEqual(await integersOf(contents), integers.map(BigInt));
      }),
      fuzz(200),
    );
  });

  it('are one array over the lines of JSONL', async () => {
    const contents = await open('[[1, 2], [3, 4]]\n[[5, 6], [7, 8]]\r\n\n[[9, 10], [11, 12]]');
    assert.strictEqual(contents.format, 'jsonl');
    assert.deepEqual(arrayOf(contents).shape, [3, 2, 2]);
    assert.deepEqual(await integersOf(contents), count(12, 1).map(BigInt));
    assert.match(await message('[[1, 2]]\n[[3]]'), /line 2, \[1\]\[0\] has 1 elements, but the first array .* has 2/);
  });

  it('may have any number of axes up to four', async () => {
    for (const text of ['[]', '[1, 2, 3]', '[[[[1]]]]', '[[], []]']) {
      assert.deepEqual(arrayOf(await open(text)).shape, shapeOf(JSON.parse(text)));
    }
  });

  it('may have integers in other notations', async () => {
    assert.deepEqual(await integersOf(await open('[[1.0, 2e1, -0], [300e-2, -1, 2147483647]]')), [
      1n,
      20n,
      0n,
      3n,
      -1n,
      2147483647n,
    ]);
  });

  it('are refused where they are ragged, or no integers, with the line and the place', async () => {
    const cases: Record<string, RegExp> = {
      '[[1, 2],\n [3]]': /line 2, \[1\] has 1 elements, but the first array at this depth has 2; /,
      '[[1, 2], 3]': /line 1, \[1\] is 3 where others are arrays; /,
      '[1, [2]]': /\[1\] is an array where others are numbers; /,
      '[[1, 2.5]]': /\[0\]\[1\] is 2\.5, not an integer; /,
      '[[1, null]]': /\[0\]\[1\] is null, not an integer; /,
      '[[1, "2"]]': /\[0\]\[1\] is "2", not an integer; /,
      '[[1, {}]]': /\[0\]\[1\] is an object, not an integer; /,
      '[[1, 1e-300]]': /is 1e-300, not an integer; /,
      '[[0, 9007199254740993]]': /\[0\]\[1\] is 9007199254740993, too large/,
      '[[7, 1e400]]': /is 1e400, too large/,
      [`[[${'9'.repeat(1000)}]]`]: new RegExp(`\\[0\\]\\[0\\] is ${'9'.repeat(40)}…, too large`),
      '[[[[[1]]]]]': /\[0\]\[0\]\[0\]\[0\] is nested deeper than 4 axes; /,
      '7': /is JSON, but not a nested array: 7; /,
      '"ids"': /is JSON, but not a nested array/,
      '[["a", "b"]]': /\[0\]\[0\] is "a", not an integer; /,
    };
    for (const [text, pattern] of Object.entries(cases)) assert.match(await message(text), pattern, text);
  });

  it('are refused where the text is not JSON', async () => {
    const cases: Record<string, RegExp> = {
      '[[1, 2]': /line 1 is not valid JSON: .*\] is missing|is not valid JSON/,
      '[[1,\n2\n': /line 3 is not valid JSON: '\]' is missing, and the file ends; /,
      '[[1, 2]] x': /is not valid JSON: .*, and there is x; /,
      '[[NaN]]': /is not valid JSON: a value is missing, and there is NaN; /,
      '[[1 2]]': /is not valid JSON: ',' or '\]' is missing, and there is 2; /,
      '[[1,]]': /is not valid JSON: a value is missing, and there is \]; /,
      '[[01]]': /is not valid JSON/,
      '[[-]]': /is not valid JSON/,
      '[[1.]]': /is not valid JSON/,
      '[[+1]]': /is not valid JSON/,
      '[[1]}': /is not valid JSON/,
      '[\0]': /is not valid JSON/,
      '{"a":1,\0"b":2}': /is not valid JSON/,
      '{\0}': /is not valid JSON/,
    };
    for (const [text, pattern] of Object.entries(cases)) assert.match(await message(text), pattern, text);
  });

  it('are read again in any order, where they have not been kept', async () => {
    // Windows and chunks end in all kinds of places
    const numTokens = 60_000;
    const rowOf = (token: number): number[] => count(8).map((slot) => (token * 7 + slot * 13) % 256);
    const text = JSON.stringify([count(numTokens).map(rowOf)]).replaceAll('],[', '], \n[');
    const source = sourceOfBytes(Buffer.from(text), 'file');
    for (const keeps of [false, true]) {
      const reader = new JsonReader(source);
      await reader.skipByteOrderMark();
      const array = await scanIntegers(reader, new SharedReader(source), { keeps });
      assert.deepEqual(array.shape, [1, numTokens, 8]);
      const row = new Int32Array(8);
      for (const token of [0, numTokens - 1, 1023, 1024, 1025, 33_333, 1022, numTokens - 1]) {
        assert.strictEqual(await array.source.read(token * 32, new Uint8Array(row.buffer)), 32);
        assert.deepEqual([...row], rowOf(token), `token ${token}`);
      }
      const [ids] = await idsOf(gridOfArrays([{ array, axes: ['layers', 'tokens', 'topk'] }]), 7001);
      assert.isTrue(ids.every((each, token) => each.join() === rowOf(token).join()));
      // Two readings at once do not disturb each other
      const both = await Promise.all(
        [5, 50_000].map(async (token) => {
          const part = new Int32Array(8 * 9000);
          await array.source.read(token * 32, new Uint8Array(part.buffer));
          return [...part.subarray(-8)];
        }),
      );
      assert.deepEqual(both, [rowOf(9004), rowOf(58_999)]);
    }
  });
});

const rows = nest([4, 3, 2], [3, 1, 7, 0, 6, 1, 3, 5, 1, 6, 6, 1, 7, 3, 4, 7, 6, 1, 3, 2, 7, 3, 0, 2]) as number[][][];
const flat = rows.flat(2);
const base64 = (bytes: ArrayBufferView): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
const npy = (descr: string, shape: string, data: ArrayBufferView): string =>
  base64(npyFile(`{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`, new Uint8Array(data.buffer)));

describe('replies of vLLM in JSON', () => {
  const ids = npy('|u1', '(4, 3, 2)', Uint8Array.from(flat));
  const reply = { id: 'cmpl-1', choices: [{ index: 0, text: 'x', logprobs: null, routed_experts: ids }] };

  it('have tokens first', async () => {
    const contents = await openIds(reply);
    assert.include(contents, { format: 'json', producer: 'vLLM', numbering: 'logical', axes: 'tokens,layers,topk' });
    assert.match(contents.axesBecause, /vLLM writes tokens first/);
    assert.strictEqual(contents.grid.idType, 'uint8');
    assert.deepEqual(tokensFirst(await idsOf(contents.grid)), rows);
  });

  it('follow one another, in one file and line by line', async () => {
    const second = {
      choices: [{ routed_experts: null }, { routed_experts: npy('<u2', '(4, 3, 2)', Uint16Array.from(flat)) }],
    };
    const contents = await openIds(`${JSON.stringify(reply)}\n${JSON.stringify(second)}\n`);
    assert.strictEqual(contents.format, 'jsonl');
    assert.deepEqual(tokensFirst(await idsOf(contents.grid)), [...rows, ...rows]);
    assert.sameMembers(
      [...contents.notes],
      ['1 of 3 replies have no ids: null.', 'The tokens of 2 replies follow one another.'],
    );
    const chosen = await openIds(JSON.stringify([second]), { array: '[0].choices[1].routed_experts' });
    assert.deepEqual(tokensFirst(await idsOf(chosen.grid)), rows);
    assert.match(
      await message(JSON.stringify(reply), { array: 'x' }),
      /has no array 'x'; choose one of choices\[0\]\.routed_experts/,
    );
  });

  it('may have no tokens, dense layers, and older types', async () => {
    const none = await openIds({ choices: [{ routed_experts: npy('|u1', '(0, 3, 2)', new Uint8Array()) }] });
    assert.deepEqual([none.grid.numTokens, none.grid.layers.length, none.grid.numTopk], [0, 3, 2]);
    const old = await openIds({ choices: [{ routed_experts: npy('<i4', '(4, 3, 2)', Int32Array.from(flat)) }] });
    assert.deepEqual(tokensFirst(await idsOf(old.grid)), rows);
  });

  it('are joined whatever their types and orders are', async () => {
    const fortran = Uint8Array.from(
      count(2).flatMap((slot) => count(3).flatMap((layer) => rows.map((row) => row[layer][slot]))),
    );
    const header = "{'descr': '|u1', 'fortran_order': True, 'shape': (4, 3, 2), }";
    const none = npy('|u1', '(0, 3, 2)', new Uint8Array());
    const all = [
      ids,
      none,
      ids,
      none,
      npy('>i2', '(1, 3, 2)', Uint8Array.from(rows[2].flat().flatMap((id) => [0, id]))),
      base64(npyFile(header, fortran)),
      ids,
    ];
    const { grid } = await openIds({ choices: all.map((routed_experts) => ({ routed_experts })) });
    const expected = [...rows, ...rows, rows[2], ...rows, ...rows];
    for (const tokensPerPiece of [1, 3, 100]) {
      assert.deepEqual(tokensFirst(await idsOf(grid, tokensPerPiece)), expected);
    }
  });

  it('have the ids of the prompt apart, or as nested arrays', async () => {
    const split = await openIds({ prompt_routed_experts: ids, choices: [{ routed_experts: ids }] });
    assert.deepEqual(tokensFirst(await idsOf(split.grid)), [...rows, ...rows]);
    const nested = await openIds({ choices: [{ routed_experts: rows, text: 'x' }] });
    assert.deepEqual(tokensFirst(await idsOf(nested.grid)), rows);
    assert.match(
      await message('{"choices": [{"routed_experts": [[[1], [2, 3]]]}]}'),
      /choices\[0\]\.routed_experts\[0\]\[1\] has 2 elements/,
    );
  });

  it('are refused where they are damaged', async () => {
    const withText = (text: string): string => JSON.stringify({ choices: [{ routed_experts: text }] });
    const place = 'file, line 1, choices\\[0\\]\\.routed_experts';
    assert.match(
      await message(withText(ids.slice(0, -1))),
      new RegExp(`${place} is no base64: it has \\d+ characters, `),
    );
    assert.match(
      await message(withText(`${ids.slice(0, -8)}!AAA${ids.slice(-4)}`)),
      new RegExp(`${place} is no base64: its character \\d+ is '!'`),
    );
    assert.match(await message(withText(`${ids.slice(0, 8)}=${ids.slice(9)}`)), /is no base64: its character 8 is '='/);
    assert.match(await message(withText(ids.slice(0, -4))), /choices\[0\]\.routed_experts is truncated/);
    assert.match(await message(withText(npy('<f4', '(1, 1, 1)', new Float32Array(1)))), /floating-point numbers/);
    assert.match(
      await message(withText(npy('|u1', '(4, 6)', Uint8Array.from(flat)))),
      /is \[4, 6\], where replies have \[tokens, layers, topk\]/,
    );
    assert.match(
      await message('{"choices": [{"routed_experts": null}]}'),
      /without the ids of experts.*ask the server/,
    );
    assert.match(await message('{"choices": [{"routed_experts": 7}]}'), /routed_experts is 7, where base64 text/);
    const two = {
      choices: [{ routed_experts: ids }, { routed_experts: npy('|u1', '(3, 4, 2)', Uint8Array.from(flat)) }],
    };
    assert.match(
      await message(JSON.stringify(two)),
      /choices\[1\]\.routed_experts is \[3, 4, 2\], and .* not of one model/,
    );
  });
});

describe('replies of SGLang in JSON', () => {
  const shape = { numLayers: 3, numTopk: 2 };
  const meta = { prompt_tokens: 3, completion_tokens: 2, routed_experts: base64(Int32Array.from(flat)) };

  it('need the number of layers and of ids for each token', async () => {
    for (const value of [
      { text: 'x', meta_info: meta },
      [{ meta_info: meta }, null],
      { choices: [{ sgl_ext: meta }] },
      { choices: [{}], sglext: meta },
    ]) {
      const contents = await openIds(value, shape);
      assert.include(contents, { producer: 'SGLang', axes: 'tokens,layers,topk', numbering: null });
      assert.deepEqual(tokensFirst(await idsOf(contents.grid)), rows);
      assert.deepEqual(contents.notes, []);
    }
    const text = JSON.stringify({ meta_info: meta });
    assert.match(
      await message(text),
      /meta_info\.routed_experts has 24 ids as int32, without their shape; give numLayers and numTopk of the model \(their product is 6,/,
    );
    assert.match(await message(text, { numLayers: 5, numTopk: 2 }), /not whole tokens of 5 layers and 2 ids/);
  });

  it('are not taken for .npy, whatever their first byte is', async () => {
    const ids = [147, ...flat.slice(1)];
    const contents = await openIds({ meta_info: { ...meta, routed_experts: base64(Int32Array.from(ids)) } }, shape);
    assert.strictEqual(contents.producer, 'SGLang');
    assert.deepEqual((await idsOf(contents.grid)).flat(2)[0], 147);
  });

  it('may be of another type, begin later, and have a row too many', async () => {
    const bytes = { ...meta, routed_experts: base64(Uint8Array.from(flat)) };
    const said = await openIds({ meta_info: { ...bytes, routed_experts_dtype: 'uint8' } }, shape);
    assert.deepEqual(tokensFirst(await idsOf(said.grid)), rows);
    const given = await openIds({ meta_info: bytes }, { ...shape, idType: 'uint8' });
    assert.strictEqual(given.grid.idType, 'uint8');
    const extra = await openIds({ meta_info: { ...meta, completion_tokens: 1 } }, shape);
    assert.deepEqual(tokensFirst(await idsOf(extra.grid)), rows.slice(0, 3));
    assert.match(extra.notes.join(), /a row more .* left out/);
    const later = await openIds({ meta_info: { ...meta, prompt_tokens: 5, routed_experts_start_len: 2 } }, shape);
    assert.deepEqual([tokensFirst(await idsOf(later.grid)), later.notes], [rows, []]);
    const odd = await openIds({ meta_info: { ...meta, prompt_tokens: 9 } }, shape);
    assert.match(odd.notes.join(), /has the ids of 4 tokens, where its request has 10/);
  });
});

describe('ids that describe themselves in JSON', () => {
  it('are read by their shape and type', async () => {
    const described = { data: base64(Uint16Array.from(flat)), shape: [4, 3, 2], start: 2, dtype: 'uint16' };
    for (const value of [{ routed_experts: described }, described, { choices: [{ routed_experts: described }] }]) {
      const contents = await openIds(value);
      assert.include(contents, { producer: 'prime-rl', axes: 'tokens,layers,topk' });
      assert.deepEqual(tokensFirst(await idsOf(contents.grid)), rows);
      assert.match(contents.notes.join(), /token 2 of its sequence/);
    }
    const refused = async (change: object): Promise<string> =>
      message(JSON.stringify({ routed_experts: { ...described, ...change } }));
    assert.match(
      await refused({ shape: [4, 3, 3] }),
      /routed_experts has 48 bytes of data, where uint16 \[4, 3, 3\] needs 72/,
    );
    assert.match(await refused({ shape: [4, -3, -2] }), /has the shape/);
    assert.match(await refused({ shape: [2 ** 40, 2 ** 40, 2 ** 40] }), /needs/);
    assert.match(await refused({ dtype: 'float32' }), /has the dtype 'float32'/);
    assert.match(await refused({ shape: undefined }), /has no 'data', 'shape' and 'dtype'/);
  });
});

describe('traces with records in JSONL', () => {
  const lines = (records: readonly object[]): string => records.map((record) => `${JSON.stringify(record)}\n`).join('');
  const record = (step: number, layer: number, top_indices: number[][], more: object = {}): object => {
    return {
      step,
      stage: 'pre_dispatch',
      block: 'decoder',
      layer,
      rank: 3,
      num_tokens: top_indices.length,
      topk: 2,
      ...more,
      top_indices,
    };
  };

  it('of Megatron-LM have a line for each step and layer', async () => {
    const text = lines([
      record(0, 7, [
        [1, 2],
        [3, 4],
      ]),
      record(0, 2, [
        [5, 6],
        [7, 0],
      ]),
      record(
        0,
        2,
        [
          [1, 0],
          [2, 0],
        ],
        { block: 'mtp', mtp_idx: 0 },
      ),
      record(1, 7, [[4, 3]]),
      record(1, 2, [[0, 7]]),
      record(1, 2, [[6, 5]], { block: 'mtp', mtp_idx: 0 }),
    ]);
    for (const tokensPerPiece of [1, 2, 100]) {
      const contents = await openIds(text);
      assert.include(contents, {
        format: 'jsonl',
        producer: 'Megatron-LM router trace',
        rank: 3,
        numbering: 'logical',
      });
      assert.deepEqual(contents.grid.layers, [2, 7, 8]);
      assert.deepEqual(contents.notes, ['Layer 8 is layer 2 of the block mtp 0.']);
      assert.deepEqual(await idsOf(contents.grid, tokensPerPiece), [
        [
          [5, 6],
          [7, 0],
          [0, 7],
        ],
        [
          [1, 2],
          [3, 4],
          [4, 3],
        ],
        [
          [1, 0],
          [2, 0],
          [6, 5],
        ],
      ]);
    }
  });

  it('may be ragged, have other stages and several ranks', async () => {
    const contents = await openIds(
      lines([
        record(0, 0, [
          [1, 2],
          [3, 4],
        ]),
        record(0, 1, [[5, 6]], { rank: 4 }),
        record(0, 0, [[1, 2]], { stage: 'post' }),
      ]),
    );
    assert.deepEqual(contents.grid.tokensOfLayer, [2, 1]);
    assert.isNull(contents.rank);
    assert.match(contents.notes.join(), /1 records are left out, .* stage pre_dispatch\.,The tokens of 2 ranks/);
    assert.deepEqual(await idsOf(contents.grid), [
      [
        [1, 2],
        [3, 4],
      ],
      [
        [5, 6],
        [-1, -1],
      ],
    ]);
  });

  it('of vLLM have a line for each token, and a line of facts', async () => {
    const route = (token: number, layer: number, topk_ids: number[]): object => {
      return { type: 'route', req_id: 'r"0', token_idx: token % 2, layer, topk_ids, topk_weights: [0.5, Number.NaN] };
    };
    const text = lines([
      { type: 'meta', model_id: 'x', layers_logged: [0], top_k: 2, num_experts: 64 },
      ...count(5).flatMap((token) => [route(token, 0, [token, token + 1]), route(token, 3, [9, token])]),
    ]).replaceAll('null', 'NaN');
    const contents = await openIds(text);
    assert.include(contents, { format: 'jsonl', producer: 'vLLM routing log', numExperts: 64, rank: null });
    assert.deepEqual(contents.grid.layers, [0, 3]);
    assert.deepEqual(await idsOf(contents.grid), [
      count(5).map((token) => [token, token + 1]),
      count(5).map((token) => [9, token]),
    ]);
    assert.deepEqual((await idsOf({ ...contents.grid, layers: [0] }))[0].length, 5);
  });

  it('are refused where a record is not right, with its line', async () => {
    const bad = async (change: object): Promise<string> =>
      message(lines([record(0, 0, [[1, 2]]), record(0, 1, [[1, 2]], change)]));
    assert.match(await bad({ num_tokens: 7 }), /line 2 has the ids of 1 tokens, and says that it has 7/);
    assert.match(await bad({ layer: null }), /line 2 has ids, and no integer 'layer'/);
    assert.match(await bad({ layer: -1 }), /line 2 has the layer -1, which is no number from 0 to 4095/);
    assert.match(await bad({ layer: 2 ** 64 }), /line 2 has the layer 18446744073709552000, which is no number/);
    assert.match(
      await message(lines([record(0, 0, [[1, 2]]), record(0, 1, [[1, 2, 3]])])),
      /line 2 has 3 ids for each token, where the first record has 2; fill shorter rows/,
    );
    assert.match(
      await message('{"layer": 0, "topk_ids": [1, 2]}\n{"layer": 0, "topk_ids": [1, 2'),
      /line 2, topk_ids is not valid JSON/,
    );
    assert.match(
      await message('{"layer": 0, "topk_ids": [1, 2]}\n{"layer": 0, "topk_ids": [1.5, 2]}'),
      /line 2, topk_ids\[0\] is 1\.5/,
    );
    assert.match(await message('{"layer": 0, "topk_ids": [1, 2]}\n[]\n7\n'), /line 3 is JSON, but not/);
    assert.match(await message('{"layer": 0, "topk_ids": [4294967296, 2]}'), /too large for the id/);
  });

  it('have no arrays to choose from', async () => {
    const text = lines([record(0, 0, [[1, 2]])]);
    assert.match(
      await message(text, { array: 'x' }),
      /has no arrays with names, and array: 'x' chooses one; leave out/,
    );
  });

  it('are read piece by piece, whatever the order and the size of the records', async () => {
    const numTokens = 20_000;
    const perRecord = 500;
    const rowOf = (layer: number, token: number): number[] => [
      (token * 3 + layer) % 512,
      (token * 5 + 7 + layer) % 512,
    ];
    const text = lines(
      count(numTokens / perRecord).flatMap((step) =>
        [5, 0].map((layer) =>
          record(
            step,
            layer,
            count(perRecord, step * perRecord).map((token) => rowOf(layer, token)),
          ),
        ),
      ),
    );
    const expected = [0, 5].map((layer) => count(numTokens).map((token) => rowOf(layer, token)));
    const { grid } = await openIds(text);
    assert.deepEqual(await idsOf(grid, 777), expected);
    // The same without keeping ids: the file is read again, as large ones are
    const source = sourceOfBytes(Buffer.from(text), 'file');
    const reader = new JsonReader(source);
    await reader.skipByteOrderMark();
    const walker = new ObjectWalker(reader, source);
    const records = new RecordTable(1000);
    for (const objects = new TopObjects(reader); await objects.next(); ) {
      records.add(await walker.readObject(), walker, reader);
    }
    const { grid: read } = records.contents(source, null, 'jsonl');
    assert.deepEqual(await idsOf(read, 777), expected);
    const { value: piece } = await read.pieces([1], new Int32Array(9)).next();
    assert.deepInclude(piece, {
      layer: 1,
      firstToken: 0,
      numTokens: 4,
      ids: Int32Array.from(expected[1].slice(0, 4).flat()),
    });
  });

  it('may have records without tokens', async () => {
    const contents = await openIds(lines([record(0, 0, []), record(1, 0, [[1, 2]])]));
    assert.deepEqual(await idsOf(contents.grid), [[[1, 2]]]);
    assert.match(await message(lines([record(0, 0, [])])), /has no ids of experts/);
  });
});

describe('choices in long form in JSON', () => {
  const choice = (layer: number, token_idx: number, expert_idx: number): object => ({
    layer,
    token_idx,
    expert_idx,
    gate_weight: 0.5,
  });

  it('are put together for each sequence, whatever their order', async () => {
    const first = {
      top_k: 2,
      num_experts: 8,
      token_ids: [1, 2, 3],
      activations: [choice(3, 1, 5), choice(0, 0, 1), choice(3, 1, 6), choice(0, 0, 2)],
    };
    const second = { activations: [choice(0, 0, 7)] };
    for (const text of [
      JSON.stringify({ traces: [first, second] }),
      `${JSON.stringify(first)}\n${JSON.stringify(second)}`,
    ]) {
      const contents = await openIds(text);
      assert.deepEqual(contents.grid.layers, [0, 3]);
      assert.strictEqual(contents.numExperts, 8);
      assert.deepEqual(await idsOf(contents.grid), [
        [
          [1, 2],
          [-1, -1],
          [-1, -1],
          [7, -1],
        ],
        [
          [-1, -1],
          [5, 6],
          [-1, -1],
          [-1, -1],
        ],
      ]);
      assert.deepEqual(contents.notes, [
        'The file has no ids in 5 of 8 cells of a layer and a token; they are read as empty.',
      ]);
    }
    const flatLines = await openIds([choice(0, 1, 4), choice(0, 0, 3)].map((line) => JSON.stringify(line)).join('\n'));
    assert.deepEqual(await idsOf(flatLines.grid), [[[3], [4]]]);
  });

  it('are refused where they need a grid that is too large', async () => {
    assert.match(await message(JSON.stringify(choice(0, 2 ** 30, 1))), /line 1 needs a grid of more than/);
    assert.match(
      await message(JSON.stringify({ traces: [{ activations: [choice(-1, 0, 1)] }] })),
      /traces\[0\]\.activations\[0\] has the layer -1/,
    );
  });
});

describe('other JSON', () => {
  it('with counts is recognised as counts', async () => {
    const counts = [
      [1, 2, 3],
      [4, 5, 6],
    ];
    for (const [value, sums] of [
      [counts, counts],
      [[counts, counts], counts.map((row) => row.map((each) => 2 * each))],
    ] as const) {
      const contents = await open(JSON.stringify({ logical_count: value }));
      if (contents.kind !== 'counts') return assert.fail(contents.kind);
      assert.deepEqual(
        contents.counts.map((row) => [...row]),
        sums,
      );
      assert.deepEqual(contents.layers, [0, 1]);
      assert.include(contents, { producer: 'SGLang', numExperts: 3 });
    }
    assert.match(await message('{"logical_count": [1, 2]}'), /has counts of \[2\]/);
  });

  it('is refused with what it seems to be', async () => {
    const cases: Record<string, RegExp> = {
      '{"physical_to_logical_map": [[0, 1]]}': /is not routing: it seems to be a map of slots to experts/,
      '{"moe_layer_count": 1, "layer_list": [{}]}': /a map of experts to devices, as vllm-ascend reads it/,
      '{"num_experts": 16, "num_experts_per_token": 4}': /expert statistics of TensorRT-LLM/,
      '{"top_experts_by_W": [{"expert": 1}]}': /a ranking of experts/,
      '{"a": 1, "b": [[1]]}': /has no ids of experts that are known: its keys are a, b; /,
      '{}': /it has no keys/,
    };
    for (const [text, pattern] of Object.entries(cases)) assert.match(await message(text), pattern, text);
  });
});

describe('hostile JSON', () => {
  const samples = [
    JSON.stringify([
      [
        [0, 5, -1],
        [6, 100, 0],
      ],
      [
        [1, 0, 7],
        [2, 3, 4],
      ],
    ]),
    JSON.stringify({
      id: 'ä"\\\u2028',
      choices: [
        { logprobs: [{ a: null, b: [1.5e-3, true] }], routed_experts: npy('|u1', '(4, 3, 2)', Uint8Array.from(flat)) },
      ],
      usage: {},
    }),
    JSON.stringify({ meta_info: { routed_experts: base64(Int32Array.from(flat)), prompt_tokens: 3 } }),
    JSON.stringify({
      routed_experts: { data: base64(Uint16Array.from(flat)), shape: [4, 3, 2], start: 2, dtype: 'uint16' },
    }),
    '{"type": "meta", "num_experts": 8}\n{"layer": 1, "topk_ids": [1, 2], "w": [NaN]}\n{"layer": 0, "top_indices": [[1, 2], [3, 4]], "stage": "x"}\n',
    '{"traces": [{"top_k": 2, "token_ids": [1, 2], "activations": [{"layer": 0, "token_idx": 1, "expert_idx": 3}]}]}',
    '{"logical_count": [[[1, 2], [3, 4]]]}',
  ];
  const options = { numLayers: 3, numTopk: 2 };

  it('is read or refused wherever it is cut off', async () => {
    for (const text of samples) {
      const bytes = Buffer.from(text);
      for (let length = 0; length <= bytes.length; length++) {
        await workOrRefuse(async () => readAll(await openBytes(bytes.subarray(0, length), options)));
      }
    }
  });

  it('is read right wherever a window ends in it', async function () {
    this.timeout(120_000);
    const contentsOf = async (bytes: Uint8Array): Promise<unknown> => {
      const contents = await openBytes(bytes, options);
      if (contents.kind === 'ids') return [contents.notes, contents.grid.layers, await idsOf(contents.grid)];
      return contents.kind === 'counts' ? contents.counts : [arrayOf(contents).shape, await integersOf(contents)];
    };
    for (const text of samples) {
      const expected = await contentsOf(Buffer.from(text));
      // Where tokens are no longer looked at as a whole, and where the window ends
      for (const boundary of [2 ** 18 - marginBytes, 2 ** 18]) {
        const bytes = Buffer.from(text);
        const padded = Buffer.alloc(boundary + bytes.length, ' ');
        for (let cut = 0; cut <= bytes.length; cut += 3) {
          bytes.copy(padded, boundary - cut);
          const length = boundary - cut + bytes.length;
          assert.deepEqual(await contentsOf(padded.subarray(0, length)), expected, `${text}, cut at ${cut}`);
          padded.fill(' ', boundary - cut, length);
        }
      }
    }
  });

  it('is read or refused wherever one character is another', async () => {
    for (const text of samples) {
      for (const character of [0, 0x22, 0x2c, 0x30, 0x5b, 0x5c, 0x5d, 0x7d]) {
        for (let position = 0; position < text.length; position++) {
          const bytes = Buffer.from(text);
          bytes[position] = character;
          await workOrRefuse(async () => readAll(await openBytes(bytes, options)));
        }
      }
    }
  });

  it('is read or refused wherever it is damaged', async () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...samples), damage, async (text, changes) => {
        const bytes = Buffer.from(text);
        for (const [position, byte] of changes) bytes[position % bytes.length] = byte;
        await workOrRefuse(async () => readAll(await openBytes(bytes, options)));
      }),
      fuzz(1500),
    );
    await fc.assert(
      fc.asyncProperty(fc.json(), async (text) => workOrRefuse(async () => readAll(await open(text)))),
      fuzz(500),
    );
  });

  it('is what JSON.parse takes for JSON, but for the text of strings that nobody reads', async () => {
    // The value is skipped, so that only its grammar counts
    for (const value of [
      '[1,]',
      '[,]',
      '[1 2]',
      '{"b":[1,]}',
      '[1,2',
      '{"b":1,}',
      '{"b" 1}',
      '{,}',
      '[[1,],2]',
      '01',
      '1.',
      '-',
      'tru',
    ]) {
      assert.match(await message(`{"a": ${value}, "layer": 0, "topk_ids": [1]}`), /line 1, a is not valid JSON/, value);
    }
    const texts = fc.oneof(
      fc.json(),
      fc
        .json()
        .chain((text) =>
          fc
            .tuple(fc.constant(text), fc.nat(text.length), fc.constantFrom('', ',', ']', '}', '"', '0', '.', '\\'))
            .map(([all, at, character]) => all.slice(0, at) + character + all.slice(at + 1)),
        ),
    );
    await fc.assert(
      fc.asyncProperty(texts, async (value) => {
        const text = `{"a": ${value}, "layer": 0, "topk_ids": [1]}`;
        const isValid = (() => {
          try {
            JSON.parse(text);
            return true;
          } catch {
            return false;
          }
        })();
        const error = await open(text).then(
          () => null,
          (reason: Error) => reason.message,
        );
        if (isValid) assert.isNull(error, text);
        else if (!text.includes('\\')) assert.isNotNull(error, text);
      }),
      fuzz(2000),
    );
  });

  it('is refused without reading on where it is nested too deep', async () => {
    const deep = (start: string, repeated: string, total: number): ByteSource => {
      const head = Buffer.from(start);
      const period = Buffer.from(repeated.repeat(Math.ceil(65_536 / repeated.length)));
      let numRead = 0;
      return {
        name: 'file',
        size: total,
        async read(position, into) {
          const length = Math.max(0, Math.min(into.length, total - position));
          numRead += length;
          assert.isBelow(numRead, 2 ** 22);
          for (let i = 0; i < length; i++) {
            const at = position + i - head.length;
            into[i] = at < 0 ? head[at + head.length] : period[at % repeated.length];
          }
          return length;
        },
      };
    };
    const refused = async (start: string, repeated: string): Promise<string> =>
      (await refusal(() => openSource(deep(start, repeated, 1e8)))).message;
    assert.match(await refused('', '['), /nested deeper than 4 axes/);
    assert.match(await refused('{"a":', '['), /a is nested more than 1000 levels deep/);
    assert.match(await refused('{"a":', '{"a":'), /a is nested more than 1000 levels deep/);
    assert.match(await refused('', '{"choices":['), /nested more than 1000 levels deep/);
    assert.match(await refused('{"', 'a'), /has a string of more than 32768 bytes where a short one is expected/);
    assert.match(await refused('[[', '9'), /not valid JSON|too large/);
    assert.match(await refused('{"shape": [', '1,'), /shape has more than 7 axes/);
  });
});
