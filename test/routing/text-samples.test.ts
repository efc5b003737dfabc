/** Text files of producers and of users, with the reading that is recorded for each. They lie beside the checkout. */
import { createHash } from 'node:crypto';
import { assert } from 'chai';
import { sourceOfBytes } from '../../ts/routing/byte-source.ts';
import type { Contents } from '../../ts/routing/contents.ts';
import type { ReadOptions } from '../../ts/routing/read-options.ts';
import { asIds, idsOf, openSource, refusal, tokensFirst } from './reading.ts';
import { hasSamples, sample, sampleFacts } from './samples.ts';

const open = (name: string, options?: ReadOptions): Promise<Contents> =>
  openSource(sourceOfBytes(sample(name), 'file'), options);

/** The ids of a sample, tokens first. */
async function tokensOf(name: string, options?: ReadOptions): Promise<number[][][]> {
  return tokensFirst(await idsOf(asIds(await open(name, options)).grid));
}

async function countsOf(name: string): Promise<number[][]> {
  const contents = await open(name);
  return contents.kind === 'counts' ? contents.counts.map((row) => [...row]) : assert.fail(contents.kind);
}

const ifHere = hasSamples ? it : it.skip;

describe('text samples', () => {
  const formats = sampleFacts('expected_formats.json');
  const runs = sampleFacts('expected_producer_runs.json');
  const sglang = { numLayers: 3, numTopk: 2 };

  ifHere('of BigMoeOnEdge have the recorded ids', async () => {
    const facts = sampleFacts('facts_text.json');
    for (const [name, { dense_shape, sha256_dense_int32_le, E, missing_cells }] of Object.entries(facts)) {
      const contents = asIds(await open(name));
      const ids = tokensFirst(await idsOf(contents.grid, 50));
      assert.deepEqual([ids.length, ids[0].length, ids[0][0].length], dense_shape);
      const bytes = new Uint8Array(Int32Array.from(ids.flat(2)).buffer);
      assert.strictEqual(createHash('sha256').update(bytes).digest('hex'), sha256_dense_int32_le);
      assert.strictEqual(contents.numExperts, E);
      assert.match(contents.notes.join(), new RegExp(`no ids in ${missing_cells} of`));
    }
  });

  ifHere('of vLLM have the recorded ids', async () => {
    for (const [name, expected] of Object.entries(formats)) {
      if (!name.startsWith('vllm_response/')) continue;
      const values = expected.choices?.flatMap(({ values }: { values: number[][][] }) => values) ?? expected.values;
      assert.deepEqual(await tokensOf(`synthetic/${name}`), values, name);
    }
  });

  ifHere('of SGLang have the recorded ids', async () => {
    for (const [name, { rows }] of Object.entries({ ...formats, ...runs })) {
      if (!name.startsWith('sglang_response/')) continue;
      const isBatch = name.includes('batch');
      assert.deepEqual(await tokensOf(`synthetic/${name}`, sglang), isBatch ? rows[0] : rows, name);
    }
  });

  ifHere('of prime-rl have the recorded ids', async () => {
    const { values } = formats['prime_rl/uint16_start2.json'];
    assert.deepEqual(await tokensOf('synthetic/prime_rl/uint16_start2.json'), values);
  });

  ifHere('of Megatron-LM have the recorded ids', async () => {
    const folder = 'megatron_router_trace/';
    const rank0 = runs[`${folder}router_trace_rank0.jsonl`];
    const [first, second, mtp] = await idsOf(asIds(await open(`synthetic/${folder}router_trace_rank0.jsonl`)).grid);
    assert.deepEqual(first, rank0.ids_decoder1);
    assert.deepEqual(second, rank0.ids_decoder2_sorted);
    assert.deepEqual(mtp, rank0.ids_mtp);
    const rank1 = runs[`${folder}router_trace_rank1.jsonl`];
    const contents = asIds(await open(`synthetic/${folder}router_trace_rank1.jsonl`));
    assert.deepEqual(contents.grid.layers, rank1.layers);
    assert.strictEqual(contents.rank, 1);
    assert.deepEqual(tokensFirst(await idsOf(contents.grid)), [...rank1.ids_step0, ...rank1.ids_step1]);
  });

  ifHere('with counts have the recorded counts', async () => {
    for (const name of [
      'llamacpp_moe_trace/moe_trace.csv',
      'sglang_old_csv/expert_distribution_rank0_timestamp1.csv',
    ]) {
      assert.deepEqual(await countsOf(`synthetic/${name}`), formats[name].counts, name);
    }
    const { value } = formats['sglang_init_location/logical_count_2d.json'];
    assert.deepEqual(await countsOf('synthetic/sglang_init_location/logical_count_2d.json'), value.logical_count);
    assert.deepEqual(await countsOf('synthetic/sglang_init_location/logical_count_3d.json'), [
      [1, 2, 3, 13],
      [5, 4, 3, 2],
    ]);
    assert.deepEqual((await countsOf('csv/sglang_old/expert_distribution_rank0_excerpt.csv'))[0][43], 22360);
  });

  ifHere('in long form are put together', async () => {
    const ids = [
      [
        [1, -1],
        [3, -1],
      ],
      [
        [-1, -1],
        [-1, -1],
      ],
      [
        [2, -1],
        [4, -1],
      ],
      [
        [-1, -1],
        [-1, -1],
      ],
    ];
    for (const name of ['merged_test.jsonl', 'test_traces_combined.json']) {
      assert.deepEqual(await tokensOf(`jsonl/moe_routing_atlas/${name}`), ids, name);
    }
  });

  ifHere('that only look like routing are declined', async () => {
    const cases: Record<string, RegExp> = {
      'json/expert_stats/olmoe_selected_experts.json': /a selection of experts, without tokens/,
      'json/expert_stats/qwen35_35b_all_experts_WSQ.json': /a ranking of experts by their weights/,
      'json/vllm_ascend/expert_map.json': /a map of experts to devices/,
      'synthetic/vllm_ascend/gsm8k_temp0.0_4_4.json': /a map of experts to devices/,
      'synthetic/sglang_init_location/physical_to_logical_map.json': /a map of slots to experts/,
      'synthetic/vllm_offline_eplb/vllm_hcu_v1.json': /a map of slots to experts/,
      'synthetic/vllm_offline_eplb/vllm_hcu_v2.json': /maps of slots to experts/,
      'synthetic/trtllm_expert_statistic/meta_info.json': /expert statistics of TensorRT-LLM/,
    };
    for (const [name, pattern] of Object.entries(cases)) {
      const { code, message } = await refusal(() => open(name));
      assert.strictEqual(code, 'NOT_ROUTING', name);
      assert.match(message, pattern, name);
    }
  });
});
