/** The files of torch.save: the archive, what is taken for ids or counts, and what is declined. */
import { assert } from 'chai';
import fc from 'fast-check';
import { gridOfArrays } from '../../ts/routing/array-grid.ts';
import { sourceOfBytes } from '../../ts/routing/byte-source.ts';
import { chooseArray } from '../../ts/routing/choose-array.ts';
import type { StoredArray } from '../../ts/routing/contents.ts';
import { tensorsIn } from '../../ts/routing/formats/pt/tensors-in.ts';
import { readTorchFile } from '../../ts/routing/formats/pt/torch-file.ts';
import { isOfIntegers } from '../../ts/routing/formats/tensors.ts';
import { openRoutingOrCounts } from '../../ts/routing/open-routing.ts';
import { listZipEntries } from '../../ts/routing/zip-directory.ts';
import * as p from '../support/pickle-writer.ts';
import { type ArchiveForm, writeArchive, writeTorchFile } from '../support/torch-writer.ts';
import { asIds, idsOf, openBytes, readAll, refusal, tokensFirst, workOrRefuse } from './reading.ts';
import { hasSample, hasSamples, sample, sampleFacts, samplePath } from './samples.ts';

/** 0, 1, 2, … as bytes of int32. */
function int32(count: number, first = 0): Uint8Array {
  return new Uint8Array(Int32Array.from({ length: count }, (_, index) => first + index).buffer);
}

/** A dense tensor of int32. */
function dense(shape: readonly number[], key = '0'): p.Pickled {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, length) => product * length, 1));
  return p.tensor({ key, numElements: shape.reduce((product, length) => product * length, 1), shape, strides });
}

/** Rows of a tensor whose elements count from a number on. */
function counting(shape: readonly [number, number, number], first = 0): number[][][] {
  let next = first;
  const [a, b, c] = shape;
  return Array.from({ length: a }, () => Array.from({ length: b }, () => Array.from({ length: c }, () => next++)));
}

const routed = writeTorchFile(p.pickle(p.dict({ routed_experts: dense([4, 3, 2]) })), { 0: int32(24) });

/** The ids of the tensor `routed_experts` of a file, tokens first. */
async function routedIn(file: Uint8Array): Promise<number[][][]> {
  return tokensFirst(await idsOf(asIds(await openBytes(file)).grid));
}

describe('files of torch.save', () => {
  const forms: Record<string, ArchiveForm & { byteOrder?: string }> = {
    'as PyTorch writes them': {},
    deflated: { isDeflated: true },
    'with sizes of 64 bits': { isWide: true },
    'without checksums': { checksum: 0 },
    'in a folder of another name': { folder: 'rollout_3' },
  };
  for (const [what, form] of Object.entries(forms)) {
    it(`are read ${what}`, async () => {
      const pickled = p.pickle(p.dict({ routed_experts: dense([4, 3, 2]) }));
      assert.deepEqual(await routedIn(writeTorchFile(pickled, { 0: int32(24) }, form)), counting([4, 3, 2]));
    });
  }

  it('are read in big-endian order', async () => {
    const pickled = p.pickle(p.dict({ routed_experts: dense([4, 3, 2]) }));
    const swapped = Buffer.from(int32(24)).swap32();
    const file = writeTorchFile(pickled, { 0: swapped }, { byteOrder: 'big' });
    assert.deepEqual(await routedIn(file), counting([4, 3, 2]));
  });

  it('have tensors that are views of storages', async () => {
    const view = { numElements: 30, offset: 6, shape: [4, 3, 2], strides: [2, 8, 1] };
    const file = writeTorchFile(p.pickle(p.dict({ routed_experts: p.tensor(view) })), { 0: int32(30) });
    const expected = Array.from({ length: 4 }, (_, t) =>
      Array.from({ length: 3 }, (_, l) => [6 + 2 * t + 8 * l, 7 + 2 * t + 8 * l]),
    );
    assert.deepEqual(await routedIn(file), expected);
  });

  it('offer a tensor without a name as an array', async () => {
    const contents = await openBytes(writeTorchFile(p.pickle(dense([5, 2])), { 0: int32(10) }));
    assert.equal(contents.kind, 'arrays');
    assert.deepInclude(contents, { format: 'pt', producer: null, others: [] });
    if (contents.kind !== 'arrays') return;
    assert.lengthOf(contents.arrays, 1);
    assert.deepInclude(contents.arrays[0], { name: '', type: 'int32', shape: [5, 2], strides: [2, 1] });
  });

  it('offer the tensors of integers of 2 to 4 axes that are not something else by their names', async () => {
    const names = ['ids', 'weights', 'input_ids', 'layers.0.position_ids', 'attention_mask', 'flat', 'topk_idx'];
    const entries = names.map((name, index) => {
      const shape = name === 'flat' ? [10] : [5, 2];
      const tensor = { storageClass: name === 'weights' ? 'torch FloatStorage' : 'torch IntStorage', key: `${index}` };
      return [name, p.tensor({ ...tensor, numElements: 10, shape, strides: name === 'flat' ? [1] : [2, 1] })] as const;
    });
    const storages = Object.fromEntries(names.map((_, index) => [`${index}`, int32(10)]));
    const file = writeTorchFile(p.pickle(p.dict(Object.fromEntries(entries))), storages);
    const contents = await openBytes(file);
    if (contents.kind !== 'arrays') return assert.fail();
    assert.deepEqual(contents.others, [{ name: 'weights', what: 'float32 [5, 2]' }]);
    const { message } = await refusal(() => chooseArray('file', contents, {}));
    assert.include(
      message,
      'holds 2 arrays of integers that could be routing (ids: int32 [5, 2], topk_idx: int32 [5, 2])',
    );
    assert.equal(chooseArray('file', contents, { array: 'input_ids' }).name, 'input_ids');
  });

  const sgLangRecord = (rank: number, tokens: number, key: string, more: Record<string, p.Pickled> = {}) =>
    p.dict({
      forward_pass_id: p.int(1),
      rank: p.int(rank),
      topk_ids_of_layer: dense([2, tokens, 3], key),
      global_physical_count: dense([2, 8], 'counts'),
      ...more,
    });
  const sgLangFile = (...records: p.Pickled[]) =>
    writeTorchFile(
      p.pickle(p.dict({ records: p.list(...records), last_physical_to_logical_map: dense([2, 8], 'map') })),
      { a: int32(24), b: int32(12, 100), counts: int32(16), map: int32(16) },
    );

  it("of SGLang's recorder have layers first, physical ids, and a rank", async () => {
    const ids = asIds(await openBytes(sgLangFile(sgLangRecord(3, 4, 'a'), sgLangRecord(3, 2, 'b'))));
    const facts = { producer: 'SGLang recorder', numbering: 'physical', rank: 3, numExperts: 8 } as const;
    assert.deepInclude(ids, {
      ...facts,
      axes: 'layers,tokens,topk',
      notes: ['The tokens are those of 2 forward passes.'],
    });
    const [first, second] = [counting([2, 4, 3]), counting([2, 2, 3], 100)];
    assert.deepEqual(await idsOf(ids.grid), [
      [...first[0], ...second[0]],
      [...first[1], ...second[1]],
    ]);
  });

  it("of SGLang's recorder say whether the ids agree with the counts of DeepEP", async () => {
    // The ids of layer 0 are 0 to 11 for 4 tokens, and those of layer 1 are 12 to 23.
    const expertCounts = (first: number) =>
      Array.from({ length: 24 }, (_, id) => (id >= first && id < first + 12 ? 1 : 0));
    const misc = (layer: number, perRank: number[], perExpert: number[]) =>
      p.dict({
        layer_id: p.int(layer),
        num_tokens_per_rank: p.list(...perRank.map(p.int)),
        num_tokens_per_expert: p.list(...perExpert.map(p.int)),
      });
    const notesOf = async (...entries: p.Pickled[]) => {
      const file = sgLangFile(sgLangRecord(0, 4, 'a', { misc_objects: p.list(...entries) }));
      return (await openBytes(file)).notes.slice(1);
    };
    const right = [misc(0, [2, 2, 0, 0], expertCounts(0)), misc(1, [0, 0, 2, 2], expertCounts(12))];
    assert.deepEqual(await notesOf(...right), [
      "DeepEP's own counts of the last pass (misc_objects) agree with its ids in all 2 layers that have them.",
    ]);
    assert.deepEqual(await notesOf(right[0], misc(1, [0, 0, 2, 3], expertCounts(12))), [
      "DeepEP's own counts of the last pass (misc_objects) differ from those of its ids: " +
        '3 tokens for rank 3 of layer 1, and the ids have 2.',
    ]);
    assert.deepEqual(await notesOf(p.dict({ layer_id: p.int(0) }), p.int(3)), []);
  });

  it("of SGLang's recorder without ids have counts", async () => {
    const records = p.list(
      p.dict({ rank: p.int(1), global_physical_count: dense([2, 4], 'a') }),
      p.dict({ rank: p.int(1), global_physical_count: dense([2, 4], 'b') }),
    );
    const passes = await openBytes(writeTorchFile(p.pickle(p.dict({ records })), { a: int32(8), b: int32(8, 100) }));
    assert.deepInclude(passes, { kind: 'counts', producer: 'SGLang recorder', numbering: 'physical', numExperts: 4 });
    if (passes.kind !== 'counts') return;
    assert.deepEqual(
      passes.counts.map((layer) => [...layer]),
      [
        [100, 102, 104, 106],
        [108, 110, 112, 114],
      ],
    );
    const root = p.dict({ records, last_physical_to_logical_map: dense([2, 4], 'map') });
    const withMap = (...map: number[]): Uint8Array =>
      writeTorchFile(p.pickle(root), {
        a: int32(8),
        b: int32(8, 100),
        map: new Uint8Array(Int32Array.from(map).buffer),
      });
    const summed = await openRoutingOrCounts(withMap(0, 1, 2, 1, 2, 2, 0, 1));
    if (summed.kind !== 'counts') return assert.fail(summed.kind);
    assert.deepEqual(
      summed.counts.map((layer) => [...layer]),
      [
        [100, 102 + 106, 104],
        [112, 114, 108 + 110],
      ],
    );
    assert.deepInclude(summed, { numbering: 'logical', numExperts: 3 });
    assert.match(summed.notes[1], /^The counts of slots are those of the experts/);
    const odd = await refusal(() => openRoutingOrCounts(withMap(0, 1, 2, 1, 2, 2, 0, 4)), 'the routing');
    assert.match(odd.message, /layer 1, slot 3 has expert 4/);
    const ofSlots = writeTorchFile(p.pickle(p.dict({ records })), { a: int32(8), b: int32(8, 100) });
    const unmapped = await openRoutingOrCounts(ofSlots);
    assert.deepInclude(unmapped, { numbering: 'physical', numExperts: 4 });
    const mixed = await refusal(() => openRoutingOrCounts([withMap(0, 1, 2, 1, 2, 2, 0, 1), ofSlots]), 'the routing');
    assert.match(mixed.message, /has counts of slots, and other files have counts of experts/);

    const stat = p.dict({
      rank: p.int(0),
      logical_count: dense([3, 2, 4], 'a'),
      average_utilization_rate_over_window: p.none,
    });
    const steps = await openBytes(writeTorchFile(p.pickle(stat), { a: int32(24) }));
    assert.deepInclude(steps, {
      kind: 'counts',
      producer: 'SGLang recorder',
      numbering: 'logical',
      numExperts: 4,
      layers: [0, 1],
    });
    if (steps.kind !== 'counts') return;
    assert.deepEqual(
      steps.counts.map((layer) => [...layer]),
      [
        [24, 27, 30, 33],
        [36, 39, 42, 45],
      ],
    );
  });

  it('of slime have the tokens of the samples that have routing', async () => {
    const sampleDict = (ids: p.Pickled) =>
      p.dict({ index: p.int(0), tokens: p.list(p.int(1)), rollout_routed_experts: ids });
    const samples = (...some: p.Pickled[]) => p.pickle(p.dict({ rollout_id: p.int(3), samples: p.list(...some) }));
    const pickled = samples(sampleDict(dense([2, 3, 2], 'a')), sampleDict(p.none), sampleDict(dense([1, 3, 2], 'b')));
    const ids = asIds(await openBytes(writeTorchFile(pickled, { a: int32(12), b: int32(6, 100) })));
    const notes = ['The tokens of 2 samples follow one another.'];
    assert.deepInclude(ids, { producer: 'slime', axes: 'tokens,layers,topk', numbering: 'logical', notes });
    assert.deepEqual(tokensFirst(await idsOf(ids.grid)), [...counting([2, 3, 2]), ...counting([1, 3, 2], 100)]);
    const without = await refusal(() => openBytes(writeTorchFile(samples(sampleDict(p.none)))));
    assert.equal(without.code, 'NOT_ROUTING');
    const odd = samples(sampleDict(dense([2, 3, 2], 'a')), sampleDict(dense([1, 2, 3], 'b')));
    const { message } = await refusal(() => openBytes(writeTorchFile(odd, { a: int32(12), b: int32(6) })));
    assert.match(message, /tensor 'samples\[1\]\.rollout_routed_experts' is int32 \[1, 2, 3\], not .*\[tokens, 3, 2\]/);
  });

  it('of a batch have the tokens of all sequences', async () => {
    const file = writeTorchFile(p.pickle(p.dict({ routed_experts: dense([2, 5, 3, 2]) })), { 0: int32(60) });
    const ids = asIds(await openBytes(file));
    assert.equal(ids.axes, 'tokens,tokens,layers,topk');
    assert.deepEqual(ids.notes, ['The tokens of 2 samples follow one another.']);
    assert.deepEqual(tokensFirst(await idsOf(ids.grid)), counting([10, 3, 2]));
  });

  it('of routing of one layer are an array', async () => {
    const file = writeTorchFile(p.pickle(p.dict({ routed_experts: dense([5, 2]) })), { 0: int32(10) });
    assert.equal((await openBytes(file)).kind, 'arrays');
  });

  describe('with an attention_mask', () => {
    const mask = (storageClass: string, shape: readonly number[]): p.Pickled =>
      p.tensor({
        storageClass,
        key: 'mask',
        numElements: 10,
        shape,
        strides: shape.length === 2 ? [shape[1], 1] : [1],
      });
    const isToken = [0, 1, 1, 0, 0, 1, 1, 1, 1, 0];
    const masks: Record<string, [storageClass: string, bytes: Uint8Array]> = {
      int64: ['torch LongStorage', new Uint8Array(BigInt64Array.from(isToken, BigInt).buffer)],
      bool: ['torch BoolStorage', Uint8Array.from(isToken)],
    };
    for (const [type, [storageClass, bytes]] of Object.entries(masks)) {
      it(`of ${type} have no padding`, async () => {
        const batch = p.dict({
          routed_experts: dense([2, 5, 3, 2]),
          attention_mask: mask(storageClass, [2, 5]),
        });
        const ids = asIds(await openBytes(writeTorchFile(p.pickle(p.dict({ batch })), { 0: int32(60), mask: bytes })));
        assert.deepEqual(ids.notes, [
          'The tokens of 2 samples follow one another.',
          '4 of 10 tokens are left out, which are padding by the attention_mask.',
        ]);
        const all = counting([10, 3, 2]);
        for (const tokensPerPiece of [1, 3, 100]) {
          const kept = tokensFirst(await idsOf(ids.grid, tokensPerPiece));
          assert.deepEqual(
            kept,
            all.filter((_, token) => isToken[token] === 1),
          );
        }
      });
    }

    it('of which all is padding have no tokens', async () => {
      const batch = p.dict({ routed_experts: dense([2, 5, 3, 2]), attention_mask: mask('torch BoolStorage', [2, 5]) });
      const file = writeTorchFile(p.pickle(p.dict({ batch })), { 0: int32(60), mask: new Uint8Array(10) });
      const { grid } = asIds(await openBytes(file));
      assert.equal(grid.numTokens, 0);
      for await (const piece of grid.pieces([0, 1, 2], new Int32Array(0))) assert.fail(`a piece of ${piece.numTokens}`);
    });

    it('have the tokens of samples without one, and of those whose mask does not fit', async () => {
      const sample = (key: string, attention_mask?: p.Pickled): p.Pickled =>
        p.dict({ routed_experts: dense([5, 3, 2], key), ...(attention_mask && { attention_mask }) });
      const bytes = Uint8Array.from(isToken);
      const samples = p.list(
        sample('0', mask('torch BoolStorage', [5])),
        sample('1'),
        sample('0', mask('torch BoolStorage', [4])),
      );
      const ids = asIds(
        await openBytes(writeTorchFile(p.pickle(samples), { 0: int32(30), 1: int32(30, 90), mask: bytes })),
      );
      assert.deepEqual(ids.notes, [
        'The tokens of 3 samples follow one another.',
        '3 of 15 tokens are left out, which are padding by the attention_mask.',
        'Padding of 1 tensor is read as tokens: [2].attention_mask is bool [4], and [2].routed_experts is int32 [5, 3, 2].',
      ]);
      const first = counting([5, 3, 2]);
      const kept = first.filter((_, token) => isToken[token] === 1);
      assert.deepEqual(tokensFirst(await idsOf(ids.grid)), [...kept, ...counting([5, 3, 2], 90), ...first]);
    });
  });

  it('with more tokens than a mask may be of are refused before they are read', async () => {
    const repeated = (shape: readonly number[]): p.Pickled =>
      p.tensor({ numElements: 1, shape, strides: shape.map(() => 0) });
    const sample = p.dict({ routed_experts: repeated([2 ** 24, 1, 1]), attention_mask: repeated([2 ** 24]) });
    const samples = p.list(sample, sample, sample, sample, sample);
    const error = await refusal(() => openBytes(writeTorchFile(p.pickle(samples), { 0: int32(1) })));
    assert.equal(error.code, 'TOO_LARGE');
    assert.match(error.message, /has 83886080 tokens and a mask of padding, and the limit is 67108864/);
  });

  describe('are declined with what they seem to be', () => {
    const float = (shape: readonly number[], key: string) => {
      const strides = shape.length === 2 ? [shape[1], 1] : [1];
      const numElements = shape.reduce((product, length) => product * length, 1);
      return p.tensor({ storageClass: 'torch FloatStorage', key, numElements, shape, strides });
    };
    const declined: Record<string, [pickled: p.Pickled, message: RegExp]> = {
      'the logits of routers': [
        p.tuple(float([6, 4], 'a'), float([6, 4], 'b')),
        /\[0\]: float32 \[6, 4\]; .*it seems to be the logits of 2 routers, 6 tokens by 4 experts; save the ids that top-k/,
      ],
      'a model': [p.dict({ 'fc.weight': float([4, 6], 'a'), 'fc.bias': float([4], 'b') }), /the weights of a model/],
      'where experts are': [
        p.dict({ physical_to_logical_map: dense([2, 4], 'a') }),
        /says where experts are, for SGLang/,
      ],
      'no tensors': [p.dict({ x: p.int(1) }), /holds no tensors/],
      'codes of audio': [
        p.dict({ codes: dense([1, 2, 4], 'a') }),
        /codes: int32 \[1, 2, 4\], by its name codes of audio .*, or take one of these with array: 'NAME'/,
      ],
    };
    for (const [what, [pickled, message]] of Object.entries(declined)) {
      it(what, async () => {
        const error = await refusal(() => openBytes(writeTorchFile(p.pickle(pickled), { a: int32(24), b: int32(24) })));
        assert.equal(error.code, 'NOT_ROUTING');
        assert.match(error.message, message);
      });
    }
  });

  describe('are refused with a clear error', () => {
    const pickled = p.pickle(p.dict({ routed_experts: dense([4, 3, 2]) }));
    const legacyMagic = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');
    const refused: Record<string, [file: Uint8Array, message: RegExp]> = {
      'of PyTorch before 1.6': [
        legacyMagic,
        /before 1\.6, which is not read; save it again with PyTorch: torch\.save\(torch\.load/,
      ],
      'that are plain pickles': [
        p.pickle(p.list()),
        /is a pickle of Python, which is not read; .* if you trust the file/,
      ],
      'that need Python': [
        writeTorchFile(p.pickle(p.call(p.global('os', 'system'), p.text('true')))),
        /byte 2 of data\.pkl refers to os\.system, .*nothing of it is run; save the ids alone/,
      ],
      'without the data of a tensor': [writeTorchFile(pickled), /lacks the record data\/0/],
      'with too few data': [writeTorchFile(pickled, { 0: int32(23) }), /record data\/0 has 92 bytes, .* needs 96/],
      'with records outside the folder': [
        writeArchive({ 'a/data.pkl': pickled, '../evil': pickled }, { folder: '' }),
        /record \.\.\/evil is not in the folder a\//,
      ],
      'without a folder': [writeArchive({ 'data.pkl': pickled }, { folder: '' }), /is not in a folder/],
      'of TorchScript': [writeArchive({ 'data.pkl': pickled, 'constants.pkl': pickled }), /is a TorchScript program/],
      'of an unknown byte order': [
        writeTorchFile(pickled, { 0: int32(24) }, { byteOrder: 'middle' }),
        /record byteorder is neither little nor big/,
      ],
      'of a later version': [writeTorchFile(pickled, {}, { version: '11' }), /is of version 11 .*1 to 10 are known/],
      'without a version': [writeArchive({ 'data.pkl': pickled }), /lacks the record version/],
      'with a record that is too long': [
        writeTorchFile(pickled, { 0: int32(24) }, { version: '3'.repeat(65) }),
        /record version has 65 bytes, over the limit of 64/,
      ],
      'of samples with a dtype of no integers': [
        writeTorchFile(
          p.pickle(
            p.dict({
              routed_experts: p.tensor({
                storageClass: 'torch FloatStorage',
                numElements: 24,
                shape: [4, 3, 2],
                strides: [6, 2, 1],
              }),
            }),
          ),
          { 0: int32(24) },
        ),
        /tensor 'routed_experts' is float32 \[4, 3, 2\], not integers/,
      ],
    };
    for (const [what, [file, message]] of Object.entries(refused)) {
      it(what, async () => assert.match((await refusal(() => openBytes(file))).message, message));
    }

    it('cut at any byte', async () => {
      for (let length = 1; length < routed.length; length++) {
        await refusal(async () => readAll(await openBytes(routed.subarray(0, length))));
      }
    });

    it('or read, if any bytes are changed', async () => {
      const edits = fc.array(fc.tuple(fc.nat(routed.length - 1), fc.integer({ min: 0, max: 255 })), {
        minLength: 1,
        maxLength: 4,
      });
      await fc.assert(
        fc.asyncProperty(edits, async (changes) => {
          const file = Buffer.from(routed);
          for (const [at, byte] of changes) file[at] = byte;
          await workOrRefuse(async () => readAll(await openBytes(file)));
        }),
        { numRuns: 1000 },
      );
    });
  });
});

describe('samples of torch.save', function () {
  if (!hasSamples) this.pending = true;
  const facts = sampleFacts('pt_facts.json');

  /** All elements of a tensor of integers in row-major order. */
  async function valuesOf(tensor: StoredArray): Promise<number[]> {
    const { shape, strides } = tensor;
    const stored = { ...tensor, shape: [...shape, 1], strides: [...strides, 1] };
    const axes = [...shape.map(() => 'tokens' as const), 'topk' as const];
    const grid = gridOfArrays([{ array: stored, axes }]);
    return (await idsOf(grid)).flat(2);
  }

  for (const [name, fact] of Object.entries(facts)) {
    if (!hasSample(name)) continue;
    const isLegacy = /legacy/.test(name);
    it(`${name}: ${isLegacy ? 'refused, as it is not a zip archive' : fact.weights_only.slice(0, 40)}`, async () => {
      const source = sourceOfBytes(sample(name), name);
      if (isLegacy || fact.weights_only !== 'ok') {
        const error = await refusal(() => openBytes(sample(name), {}, name), name);
        if (isLegacy) assert.match(error.message, /before 1\.6.*torch\.save\(torch\.load/);
        return;
      }
      const torchFile = await readTorchFile(source, await listZipEntries(source));
      const found = tensorsIn(torchFile.root, name);
      const expected = Object.entries<Record<string, unknown>>(fact.tensors).filter(
        ([, { sparse }]) => sparse !== true,
      );
      assert.deepEqual(
        found.map(({ path }) => (path === '' ? '$' : path)),
        expected.map(([path]) => path),
      );
      for (const [index, [, { dtype, shape, stride, offset, first, sum }]] of expected.entries()) {
        const { path, tensor } = found[index];
        const { type, strides } = tensor;
        assert.deepEqual({ type: type.name, shape: tensor.shape, strides, offset: tensor.offset }, {
          type: dtype,
          shape,
          strides: stride,
          offset,
        } as unknown);
        const opened = await torchFile.open(tensor, path);
        if (!isOfIntegers(opened)) continue;
        const values = await valuesOf(opened);
        assert.deepEqual(values.slice(0, (first as unknown[]).length), (first as unknown[]).map(Number));
        if (sum !== undefined)
          assert.equal(
            values.reduce((total, value) => total + value, 0),
            Number(sum),
          );
      }
    });
  }

  const expected = sampleFacts('expected_torch2.13.0.json');
  const synthetic = (name: string) => openBytes(sample(`synthetic/${name}`), {}, name);

  it("of SGLang's recorder are read as its code writes them", async () => {
    const name = 'sglang_recorder/torch2.13.0/expert_distribution_recorder_1764100000.25_0.pt';
    const ids = asIds(await synthetic(name));
    assert.deepInclude(ids, { producer: 'SGLang recorder', numbering: 'physical', rank: 0, numExperts: 18 });
    const [first, second] = expected[name].ids as number[][][][];
    assert.deepEqual(
      await idsOf(ids.grid),
      first.map((layer, index) => [...layer, ...second[index]]),
    );
    const passes = await synthetic(
      'sglang_recorder/torch2.13.0/per_pass/expert_distribution_recorder_1764100001.5_1.pt',
    );
    if (passes.kind !== 'counts') return assert.fail();
    const [one, two] = expected[name].global_physical_count as number[][][];
    assert.deepEqual(
      passes.counts.map((layer) => [...layer]),
      one.map((layer, l) => layer.map((count, e) => count + two[l][e])),
    );
    const perPass = 'sglang_recorder/torch2.13.0/per_pass/expert_distribution_recorder_1764100001.5_1.pt';
    const summed = await openRoutingOrCounts(samplePath(`synthetic/${perPass}`));
    if (summed.kind !== 'counts') return assert.fail();
    const sums = summed.counts.map((layer) => new Array<number>(layer.length).fill(0));
    for (const [layer, experts] of expected[perPass].physical_to_logical.entries()) {
      for (const [slot, expert] of experts.entries()) sums[layer][expert] += one[layer][slot] + two[layer][slot];
    }
    assert.deepEqual(
      summed.counts.map((layer) => [...layer]),
      sums,
    );
    for (const file of [
      'expert_distribution_recorder_1764100002.0.pt',
      'expert_distribution_recorder_1764100003.0.pt',
      'ring_buffer_5.pt',
    ]) {
      const stat = await synthetic(`sglang_recorder/torch2.13.0/stat/${file}`);
      if (stat.kind !== 'counts') return assert.fail();
      const { sum_over_steps } =
        expected['sglang_recorder/torch2.13.0/stat/expert_distribution_recorder_1764100002.0.pt'];
      assert.deepEqual(
        stat.counts.map((layer) => [...layer]),
        sum_over_steps,
      );
    }
    const initial = await synthetic('sglang_init_location/torch2.13.0/logical_count_2d.pt');
    if (initial.kind !== 'counts') return assert.fail();
    assert.deepEqual(
      initial.counts.map((layer) => [...layer]),
      expected['sglang_init_location/torch2.13.0/logical_count_2d.pt'].values,
    );
  });

  it('of slime are read as its code writes them', async () => {
    const ids = asIds(await synthetic('slime/rollout_3.pt'));
    assert.equal(ids.producer, 'slime');
    const { values } = sampleFacts('expected_producer_runs.json')['slime/rollout_3.pt'];
    assert.deepEqual(tokensFirst(await idsOf(ids.grid)), values.flat());
  });

  const declined: Record<string, RegExp> = {
    'sglang_init_location/torch2.13.0/physical_to_logical_map.pt': /says where experts are, for SGLang/,
    'hf_router_logits/torch2.13.0/router_logits_tuple_f32.pt': /the logits of 3 routers, 8 tokens by 8 experts/,
    'hf_router_logits/torch2.13.0/router_logits_tuple_bf16.pt': /the logits of 3 routers, 8 tokens by 8 experts/,
    'megatron_router_trace/router_state_rank0.pt': /the weights of Megatron's routers/,
  };
  for (const [name, message] of Object.entries(declined)) {
    it(`${name} is declined`, async () => {
      const error = await refusal(() => synthetic(name), name);
      assert.equal(error.code, 'NOT_ROUTING');
      assert.match(error.message, message);
    });
  }
});
