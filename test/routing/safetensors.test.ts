/** Safetensors: the header as the reference reader checks it, and what is taken for ids or counts. */
import { assert } from 'chai';
import fc from 'fast-check';
import { gridOfArrays } from '../../ts/routing/array-grid.ts';
import { sourceOfBytes } from '../../ts/routing/byte-source.ts';
import { looksLikeSafetensors, readSafetensorsHeader } from '../../ts/routing/formats/safetensors/header.ts';
import { readSafetensors } from '../../ts/routing/formats/safetensors.ts';
import { isOfIntegers } from '../../ts/routing/formats/tensors.ts';
import { int32Tensor, int64Tensor, safetensorsFile, writeSafetensors } from '../support/safetensors-writer.ts';
import { asIds, idsOf, openBytes, readAll, refusal, tokensFirst, workOrRefuse } from './reading.ts';
import { hasSample, hasSamples, sample, sampleFacts } from './samples.ts';

/** 0, 1, 2, …, which is what most tensors here hold. */
const numbers = (count: number, first = 0) => Array.from({ length: count }, (_, index) => first + index);

function header(bytes: Uint8Array) {
  return readSafetensorsHeader(sourceOfBytes(bytes, 'file'));
}

const descriptor = '{"dtype":"I32","shape":[2,3],"data_offsets":[0,24]}';

describe('the header of safetensors', () => {
  const accepted: Record<string, [text: string, data: number]> = {
    'a tensor': [`{"a":${descriptor}}`, 24],
    'spaces around it': [`  {"a":${descriptor}}\n\n  `, 24],
    metadata: [`{"__metadata__":{"k":"v"},"a":${descriptor}}`, 24],
    'metadata that are null': [`{"__metadata__":null,"a":${descriptor}}`, 24],
    'no tensors': ['{}', 0],
    'a scalar': ['{"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}', 8],
    'empty tensors at one place': [
      '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[0,5],"data_offsets":[0,0]}}',
      0,
    ],
    'fields that it does not know': ['{"a":{"x":[1.5,-2],"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1],
    'tensors in another order than their data': [
      '{"b":{"dtype":"U8","shape":[1],"data_offsets":[4,5]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
      5,
    ],
    'the name of a prototype': ['{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1],
    'elements of less than a byte': ['{"a":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]}}', 3],
    'names with quotes and numbers in them': ['{"a\\"1.5\\\\":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1],
  };
  for (const [what, [text, data]] of Object.entries(accepted)) {
    it(`may have ${what}`, async () => {
      const bytes = safetensorsFile(text, new Uint8Array(data));
      assert.isTrue(looksLikeSafetensors(bytes));
      await header(bytes);
    });
  }

  it('gives names, types, shapes, and where the data are', async () => {
    const text = `{"b":{"dtype":"U8","shape":[1],"data_offsets":[24,25]},"__proto__":${descriptor}}`;
    assert.deepEqual(await header(safetensorsFile(text, new Uint8Array(25))), [
      { name: '__proto__', dtype: 'I32', shape: [2, 3], position: 8 + text.length },
      { name: 'b', dtype: 'U8', shape: [1], position: 8 + text.length + 24 },
    ]);
  });

  const withShape = (shape: string, offsets = '[0,24]') =>
    `{"a":{"dtype":"I32","shape":${shape},"data_offsets":${offsets}}}`;
  const refused: Record<string, [file: Uint8Array, message: RegExp]> = {
    nothing: [new Uint8Array(0), /truncated: it has 0 bytes/],
    'seven bytes': [new Uint8Array(7), /truncated: it has 7 bytes/],
    'a header of no bytes': [safetensorsFile(''), /byte 8 is not an object/],
    'a header longer than the file': [
      safetensorsFile(withShape('[2,3]')).subarray(0, 40),
      /claims a header of 57 bytes/,
    ],
    'a header of 2^63 bytes': [
      Buffer.concat([Buffer.from('ffffffffffffff7f', 'hex'), Buffer.from('{}')]),
      /byte 0 claims a header of 9223372036854775807 bytes/,
    ],
    'a header over 100 MB': [
      Buffer.concat([Buffer.from('01e1f50500000000', 'hex'), Buffer.from('{}')]),
      /100000001 bytes, and the limit/,
    ],
    'text that is no JSON': [safetensorsFile('{"a":'), /byte 13, a is not an object/],
    'text that is no UTF-8': [
      safetensorsFile(Buffer.from('{"\xff":1}', 'latin1')),
      /byte 9 is not valid JSON: a string has a broken escape, or is not UTF-8/,
    ],
    'a byte order mark': [safetensorsFile('\ufeff{}'), /byte 8 is not an object/],
    'an array': [safetensorsFile('[]'), /byte 8 is not an object/],
    'metadata that are no texts': [safetensorsFile('{"__metadata__":{"a":1}}'), /__metadata__\.a is not a text/],
    'a tensor that is no object': [safetensorsFile('{"a":[]}'), /byte 13, a is not an object/],
    'a tensor without a type': [
      safetensorsFile('{"a":{"shape":[],"data_offsets":[0,0]}}'),
      /byte 46, a lacks its dtype, shape or data_offsets/,
    ],
    'an unknown type': [
      safetensorsFile('{"a":{"dtype":"I128","shape":[],"data_offsets":[0,0]}}'),
      /a\.dtype is "I128", which is no type/,
    ],
    'a length with a fraction': [
      safetensorsFile(withShape('[2.0,3]'), new Uint8Array(24)),
      /byte 37, a\.shape has 2\.0, which is not an integer/,
    ],
    'a length with an exponent': [
      safetensorsFile(withShape('[2e0,3]'), new Uint8Array(24)),
      /which is not an integer, 0 or more/,
    ],
    'a negative length': [
      safetensorsFile(withShape('[-2,-3]'), new Uint8Array(24)),
      /which is not an integer, 0 or more/,
    ],
    'a negative zero': [safetensorsFile(withShape('[-0]', '[0,0]')), /which is not an integer, 0 or more/],
    'a length of 20 digits': [
      safetensorsFile(withShape('[18446744073709551615,0]')),
      /has 18446744073709551615, which is too large/,
    ],
    'a length that is a text': [safetensorsFile(withShape('["2",3]')), /has "2", which is not an integer, 0 or more/],
    'a shape that overflows': [safetensorsFile(withShape('[4294967296,4294967296]'), new Uint8Array(24)), /overflows/],
    'three offsets': [
      safetensorsFile(withShape('[2,3]', '[0,24,24]'), new Uint8Array(24)),
      /a has 3 data_offsets, and not a beginning and an end/,
    ],
    'data of another size': [safetensorsFile(withShape('[2,4]'), new Uint8Array(24)), /32 bytes, but its data have 24/],
    'data that end before they begin': [
      safetensorsFile(withShape('[2,3]', '[24,0]'), new Uint8Array(24)),
      /leave a gap: bytes 24 to 0/,
    ],
    'a gap': [
      safetensorsFile(withShape('[2,3]', '[4,28]'), new Uint8Array(28)),
      /tensor 'a' has data that leave a gap: bytes 4 to 28, after 0/,
    ],
    'data that overlap': [
      safetensorsFile(`{"a":${descriptor},"b":{"dtype":"U8","shape":[2],"data_offsets":[23,25]}}`, new Uint8Array(25)),
      /tensor 'b' has data that overlap others: bytes 23 to 25, after 24/,
    ],
    'bytes behind the data': [
      safetensorsFile(`{"a":${descriptor}}`, new Uint8Array(25)),
      /too long: its header places 24 bytes of data, and 25 follow/,
    ],
    'too few data': [
      safetensorsFile(`{"a":${descriptor}}`, new Uint8Array(23)),
      /truncated: its header places 24 bytes of data, and 23 follow/,
    ],
    'elements that end inside a byte': [
      safetensorsFile('{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}', new Uint8Array(1)),
      /1\.5 bytes, but its data have 1/,
    ],
    'brackets in brackets': [
      safetensorsFile(`{"a":{"x":${'['.repeat(10_000_000)}`),
      /a\.x is nested more than 1000 levels deep/,
    ],
    'text behind it': [safetensorsFile('{} {}'), /byte 11 is not valid JSON: its object has ended, and there is \{/],
  };
  for (const [what, [file, message]] of Object.entries(refused)) {
    it(`must not have ${what}`, async () => assert.match((await refusal(() => header(file))).message, message));
  }

  it('is refused if it is cut at any byte', async () => {
    const file = writeSafetensors({ 'rollout_routed_experts.0': int32Tensor(numbers(24), [4, 3, 2]) });
    for (let length = 0; length < file.length; length++) await refusal(() => header(file.subarray(0, length)));
  });

  it('is read or refused, if any bytes are changed', async () => {
    const file = writeSafetensors({ '5_0': int32Tensor(numbers(8), [4, 2]), '5_1': int32Tensor(numbers(8), [4, 2]) });
    const edit = fc.tuple(
      fc.nat(file.length - 1),
      fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(...Buffer.from('0123456789[]{}",.-e'))),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
        const changed = Buffer.from(file);
        for (const [at, byte] of edits) changed[at] = byte;
        await workOrRefuse(async () => readAll(await openBytes(changed)));
      }),
      { numRuns: 1000 },
    );
  });
});

describe('safetensors', () => {
  it('of miles have the tokens of the samples, in the order of their numbers', async () => {
    const file = writeSafetensors({
      'rollout_routed_experts.10': int32Tensor(numbers(6, 100), [1, 3, 2]),
      'rollout_routed_experts.9': int32Tensor(numbers(12), [2, 3, 2]),
      'tokens.9': int64Tensor([1, 2], [2]),
      _samples_meta: { dtype: 'U8', shape: [2], data: Buffer.from('{}') },
    });
    const ids = asIds(await openBytes(file));
    assert.deepInclude(ids, {
      format: 'safetensors',
      producer: 'miles',
      axes: 'tokens,layers,topk',
      numbering: 'logical',
    });
    const rows = (await idsOf(ids.grid)).map((layer) => layer.flat());
    assert.deepEqual(rows, [
      [0, 1, 6, 7, 100, 101],
      [2, 3, 8, 9, 102, 103],
      [4, 5, 10, 11, 104, 105],
    ]);
  });

  it('of miles without routing are declined', async () => {
    const error = await refusal(() => openBytes(writeSafetensors({ _samples_meta: int32Tensor([], [0]) })));
    assert.equal(error.code, 'NOT_ROUTING');
    assert.match(error.message, /samples of a rollout without routing.*--use-rollout-routing-replay/);
  });

  it('whose length looks like the start of a pickle are no pickles', async () => {
    for (const length of [0x280, 0x380, 0x480, 0x580]) {
      const header = '{"ids":{"dtype":"I32","shape":[3,2],"data_offsets":[0,24]}}'.padEnd(length);
      const contents = await openBytes(safetensorsFile(header, new Uint8Array(24)));
      assert.equal(contents.format, 'safetensors');
    }
  });

  it('that claim layers or slots without number in no bytes are refused', async () => {
    for (const [shape, message] of [
      [[0, 4294967295, 2], /array 'rollout_routed_experts\.0' is .* 4294967295 layers, and the limit is 10000/],
      [[0, 2, 4294967295], /4294967295 slots for each token, and the limit is 16777216/],
    ] as const) {
      const file = writeSafetensors({ 'rollout_routed_experts.0': int32Tensor([], shape) });
      assert.match((await refusal(() => openBytes(file))).message, message);
    }
  });

  it('of another producer are arrays of which one is chosen', async () => {
    const contents = await openBytes(
      writeSafetensors({ ids: int64Tensor(numbers(8), [4, 2]), mask: int32Tensor([1], [1, 1]) }),
    );
    assert.deepInclude(contents, { kind: 'arrays', format: 'safetensors', producer: null });
    if (contents.kind !== 'arrays') return;
    assert.deepEqual(
      contents.arrays.map(({ name, type, shape }) => ({ name, type, shape })),
      [{ name: 'ids', type: 'int64', shape: [4, 2] }],
    );
    assert.deepEqual(contents.others, [{ name: 'mask', what: 'int32 [1, 1], by its name a mask' }]);
  });
});

describe('samples of safetensors', function () {
  if (!hasSamples) this.pending = true;
  const facts = sampleFacts('safetensors_facts.json');
  const typeNames: Record<string, string> = { F32: 'float32', F16: 'float16' };

  for (const [name, { header_len, reference }] of Object.entries(facts)) {
    if (!hasSample(name)) continue;
    it(`${name} is read as the reference reads it`, async () => {
      const tensors = await readSafetensors(sourceOfBytes(sample(name), name));
      assert.sameMembers(
        tensors.map((tensor) => tensor.name),
        Object.keys(reference),
      );
      assert.equal(Math.min(...tensors.map(({ position }) => position)), 8 + header_len);
      for (const tensor of tensors) {
        const [type, shape, first] = reference[tensor.name];
        assert.deepEqual([typeNames[tensor.type] ?? tensor.type, tensor.shape], [type, shape]);
        if (!isOfIntegers(tensor)) continue;
        const array = { ...tensor, shape: [...shape, 1], strides: [...tensor.strides, 1] };
        const grid = gridOfArrays([{ array, axes: [...tensor.shape.map(() => 'tokens' as const), 'topk'] }]);
        assert.deepEqual((await idsOf(grid)).flat(2).slice(0, first.length), first);
      }
    });
  }

  for (const [path, { reference }] of Object.entries<{ reference: string }>(sampleFacts('expected_malformed.json'))) {
    const name = `synthetic/${path}`;
    if (!path.startsWith('safetensors') || !hasSample(name)) continue;
    it(`${path}: ${reference}`, async () => {
      const source = sourceOfBytes(sample(name), name);
      // The reference reads bfloat16, but numpy, to which it gave the tensors here, does not have it.
      if (reference === "refused: KeyError 'BF16'") await readSafetensorsHeader(source);
      else if (reference.startsWith('refused')) await refusal(() => readSafetensorsHeader(source), name);
      else {
        const entries = await readSafetensorsHeader(source);
        assert.equal(`accepted: ${entries.length}`, `accepted: ${reference.split(/\], /).length}`);
      }
    });
  }

  it('of miles are read as its code writes them', async () => {
    const ids = asIds(await openBytes(sample('synthetic/miles/samples_two.safetensors')));
    const { tensors } = sampleFacts('expected_producer_runs.json')['miles/samples_two.safetensors'];
    const expected = [...tensors['rollout_routed_experts.0'], ...tensors['rollout_routed_experts.1']];
    assert.deepEqual(tokensFirst(await idsOf(ids.grid)), expected);
    for (const name of ['samples_empty', 'samples_null']) {
      const file = `synthetic/miles/${name}.safetensors`;
      assert.equal((await refusal(() => openBytes(sample(file)))).code, 'NOT_ROUTING');
    }
  });

  const declined: Record<string, RegExp> = {
    'safetensors/burn/multi_layer.safetensors': /it seems to be the weights of a model/,
    'safetensors/candle/jfk-codes.safetensors': /codes: int64 \[1, 2, 828\], by its name codes of audio or images/,
    'safetensors/mlverse/hello.safetensors': /hello: float32 \[10, 10\]/,
  };
  for (const [name, message] of Object.entries(declined)) {
    it(`${name} is declined`, async () => {
      const error = await refusal(() => openBytes(sample(name)));
      assert.equal(error.code, 'NOT_ROUTING');
      assert.match(error.message, message);
    });
  }
});
