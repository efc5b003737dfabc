/** The statistics of experts of TensorRT-LLM: a directory, and each of its files. */
import { assert } from 'chai';
import { openRouting } from 'dispatch-layout/routing';
import { sourceOfBytes } from '../../ts/routing/byte-source.ts';
import type { Contents } from '../../ts/routing/contents.ts';
import { tensorrtLlmFormat } from '../../ts/routing/formats/tensorrt-llm.ts';
import { int32Tensor, int64Tensor, type TensorToWrite, writeSafetensors } from '../support/safetensors-writer.ts';
import { asIds, idsOf, openBytes, refusal } from './reading.ts';
import { hasSamples, sample, sampleFacts } from './samples.ts';

/** Opens a directory of these files. */
async function open(files: Readonly<Record<string, Uint8Array>>): Promise<Contents> {
  const names = tensorrtLlmFormat.choose(Object.keys(files));
  assert.isNotEmpty(names);
  const sources = names.map((name) => [name, sourceOfBytes(files[name], `folder/${name}`)] as const);
  return tensorrtLlmFormat.open(new Map(sources), {});
}

/** Ids of `[tokens, 2]`, counted from a number on. */
function ids(numTokens: number, first: number): TensorToWrite {
  return int32Tensor(
    Array.from({ length: 2 * numTokens }, (_, index) => first + index),
    [numTokens, 2],
  );
}

const meta = Buffer.from('{"num_experts": 8, "num_experts_per_token": 2}');

describe("TensorRT-LLM's statistics of experts", () => {
  it('are read as a directory where its files are given, as in a page', async () => {
    const files = [
      new File([Uint8Array.from(writeSafetensors({ '0_3': ids(2, 4) }))], 'rank1_raw.safetensors'),
      new File([Uint8Array.from(meta)], 'meta_info.json'),
      new File([Uint8Array.from(writeSafetensors({ '0_3': ids(1, 0) }))], 'rank0_raw.safetensors'),
    ];
    const routing = await openRouting(files);
    assert.deepInclude(routing, { format: 'tensorrt-llm', tokens: 3, topk: 2, numExperts: 8 });
    assert.deepEqual(routing.files, ['rank1_raw.safetensors, meta_info.json, rank0_raw.safetensors']);
    const read: number[] = [];
    for await (const piece of routing.pieces()) read.push(...Array.from(piece.ids, Number));
    assert.deepEqual(read, [0, 1, 4, 5, 6, 7]);
    // Without the file that makes them a directory, they are the files of two ranks
    const [first, , second] = files;
    const ofRanks = await openRouting([first, second]);
    assert.deepEqual(ofRanks.files, ['rank0_raw.safetensors', 'rank1_raw.safetensors']);
  });

  it('have the tokens of all iterations of all ranks', async () => {
    const contents = asIds(
      await open({
        'meta_info.json': meta,
        'rank10_raw.safetensors': writeSafetensors({ '7_3': ids(1, 60), '7_5': ids(1, 70) }),
        'rank2_raw.safetensors': writeSafetensors({
          '10_3': ids(1, 40),
          '9_5': ids(2, 10),
          '9_3': ids(2, 0),
          '10_5': ids(1, 50),
        }),
        'rank2.safetensors': writeSafetensors({ '9_3': int64Tensor([0], [1]) }),
        'notes.txt': Buffer.from('hello'),
      }),
    );
    const facts = { producer: 'TensorRT-LLM', numbering: 'logical', rank: null, numExperts: 8 } as const;
    assert.deepInclude(contents, { ...facts, format: 'tensorrt-llm', axes: 'layers,tokens,topk' });
    assert.deepEqual(contents.notes, ['The tokens are those of 2 ranks.']);
    assert.deepEqual(contents.grid.layers, [3, 5]);
    assert.deepEqual(await idsOf(contents.grid), [
      [
        [0, 1],
        [2, 3],
        [40, 41],
        [60, 61],
      ],
      [
        [10, 11],
        [12, 13],
        [50, 51],
        [70, 71],
      ],
    ]);
  });

  it('have counts that are summed over ranks and iterations, if there are no ids', async () => {
    const rank = (step: number) =>
      writeSafetensors({
        '0_1': int64Tensor([step, 0, 0, 0, 0, 0, 0, 1], [8]),
        '1_1': int64Tensor([step, 2, 0, 0, 0, 0, 0, 0], [8]),
      });
    const contents = await open({
      'meta_info.json': meta,
      'rank0.safetensors': rank(10),
      'rank1.safetensors': rank(100),
    });
    assert.deepInclude(contents, {
      kind: 'counts',
      numExperts: 8,
      layers: [1],
      notes: ['The counts are those of 2 ranks.'],
    });
    if (contents.kind === 'counts') assert.deepEqual([...contents.counts[0]], [220, 4, 0, 0, 0, 0, 0, 2]);
  });

  it('are read from one file, which knows its rank by its name', async () => {
    const file = writeSafetensors({ '7_3': ids(2, 0), '8_3': ids(0, 0) });
    const contents = asIds(await openBytes(file, {}, '/tmp/rank3_raw.safetensors'));
    assert.deepInclude(contents, {
      format: 'safetensors',
      producer: 'TensorRT-LLM',
      rank: 3,
      numExperts: null,
      notes: [],
    });
    assert.deepEqual(await idsOf(contents.grid), [
      [
        [0, 1],
        [2, 3],
      ],
    ]);
  });

  const refused: Record<string, [files: Record<string, Uint8Array>, message: RegExp]> = {
    'lack a layer of an iteration': [
      {
        'rank0_raw.safetensors': writeSafetensors({
          '7_3': ids(1, 0),
          '7_5': ids(1, 0),
          '8_3': ids(1, 0),
          '9_3': ids(1, 0),
          '9_5': ids(1, 0),
        }),
      },
      /folder\/rank0_raw\.safetensors lacks tensor '8_5'/,
    ],
    'lack the last layer of the last iteration': [
      { 'rank0_raw.safetensors': writeSafetensors({ '7_3': ids(1, 0), '7_5': ids(1, 0), '8_3': ids(1, 0) }) },
      /lacks tensor '8_5'/,
    ],
    'lack an iteration': [
      { 'rank0_raw.safetensors': writeSafetensors({ '7_3': ids(1, 0), '9_3': ids(1, 0) }) },
      /lacks tensor '8_3'/,
    ],
    'have other tokens in another layer': [
      { 'rank0_raw.safetensors': writeSafetensors({ '7_3': ids(1, 0), '7_5': ids(2, 0) }) },
      /tensor '7_5' has 2 tokens, and '7_3' of the same iteration has 1/,
    ],
    'have another number of slots': [
      { 'rank0_raw.safetensors': writeSafetensors({ '7_3': int32Tensor([1, 2, 3], [1, 3]) }) },
      /tensor '7_3' is int32 \[1, 3\], not integers of \[tokens, 2\] as meta_info\.json says/,
    ],
    'have another number of experts': [
      { 'rank0.safetensors': writeSafetensors({ '7_3': int64Tensor([1, 2, 3], [3]) }) },
      /is int64 \[3\], not integers of \[8\]/,
    ],
    'have ids beside counts': [
      { 'rank0_raw.safetensors': writeSafetensors({ '7_3': ids(1, 0), '8_3': int64Tensor([1, 2], [2]) }) },
      /tensor '8_3' is int64 \[2\]/,
    ],
    'have a negative count': [
      { 'rank0.safetensors': writeSafetensors({ '7_3': int64Tensor([1, 1, 1, -1, 0, 0, 0, 0], [8]) }) },
      /step 0, layer 3, expert 3 has the count -1/,
    ],
    'have tensors of other names': [
      { 'rank0.safetensors': writeSafetensors({ weight: int64Tensor([1], [1]) }) },
      /has tensors that are not named '\{iteration\}_\{layer\}'/,
    ],
    'have no tensors': [{ 'rank0.safetensors': writeSafetensors({}) }, /has tensors that are not named/],
    'have broken facts': [
      { 'meta_info.json': Buffer.from('{'), 'rank0.safetensors': writeSafetensors({}) },
      /meta_info\.json is not JSON/,
    ],
    'have facts without the number of experts': [
      { 'meta_info.json': Buffer.from('{"num_experts": -1}'), 'rank0.safetensors': writeSafetensors({}) },
      /meta_info\.json, num_experts has -1, not a count; it must be/,
    ],
    'have empty facts': [
      { 'meta_info.json': Buffer.from('null'), 'rank0.safetensors': writeSafetensors({}) },
      /num_experts has nothing, not a count/,
    ],
  };
  for (const [what, [files, message]] of Object.entries(refused)) {
    it(`are refused if they ${what}`, async () => {
      const error = await refusal(() => open({ 'meta_info.json': meta, ...files }), 'folder/');
      assert.match(error.message, message);
    });
  }

  it('are read as TensorRT-LLM writes them', async function () {
    if (!hasSamples) this.skip();
    const folder = 'trtllm_expert_statistic';
    const facts = sampleFacts('expected_formats.json');
    const files = (...names: string[]) =>
      Object.fromEntries(names.map((name) => [name, sample(`synthetic/${folder}/${name}`)]));
    const rawNames = ['rank0_raw.safetensors', 'rank1_raw.safetensors'];
    const raw = asIds(await open(files('meta_info.json', ...rawNames, 'rank0.safetensors', 'rank1.safetensors')));
    const ofLayer = (layer: number) =>
      rawNames.flatMap((name) =>
        [100, 101, 102].flatMap((iteration) => facts[`${folder}/${name}`].values[`${iteration}_${layer}`]),
      );
    assert.deepInclude(raw, { numExperts: 16, rank: null });
    assert.deepEqual(await idsOf(raw.grid), [ofLayer(3), ofLayer(4)]);
    const counts = await open(files('meta_info.json', 'rank0.safetensors', 'rank1.safetensors'));
    if (counts.kind !== 'counts') return assert.fail();
    const counted = [ofLayer(3), ofLayer(4)].map((rows) => {
      const sums = new Array<number>(16).fill(0);
      for (const id of rows.flat()) sums[id]++;
      return sums;
    });
    assert.deepEqual(
      counts.counts.map((layer) => [...layer]),
      counted,
    );
  });
});
