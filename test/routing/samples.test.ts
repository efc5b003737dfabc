/**
 * All samples that lie beside the checkout, opened as users open them: each is read, or refused for the right reason, and
 * those whose ids are recorded have the recorded ones.
 */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { assert } from 'chai';
import { type OpenRoutingOptions, openRouting, openRoutingOrCounts, RoutingError } from '../../ts/routing/index.ts';
import { hasSamples, sampleFacts, samplePath } from './samples.ts';

/** What SGLang's replies do not say. */
function optionsOf(name: string): OpenRoutingOptions {
  return name.includes('/sglang_response/') ? { numLayers: 3, numTopk: 2 } : {};
}

/** The samples that are refused, by the code and the start of their names. All others are read. */
const refused: Readonly<Record<string, readonly string[]>> = {
  COUNTS: [
    'csv/sglang_old/',
    'synthetic/llamacpp_moe_trace/',
    'synthetic/sglang_init_location/logical_count_',
    'synthetic/sglang_init_location/torch2.13.0/logical_count_',
    'synthetic/sglang_old_csv/',
    'synthetic/sglang_recorder/torch2.13.0/per_pass/',
    'synthetic/sglang_recorder/torch2.13.0/stat/',
    'synthetic/trtllm_expert_statistic/rank0.',
    'synthetic/trtllm_expert_statistic/rank1.',
    'synthetic/vllm_ascend/workload.',
  ],
  NOT_ROUTING: [
    'json/',
    'npy/candle/',
    'pt/bumblebee/ordered_dict.zip.',
    'pt/bumblebee/state_dict_',
    'pt/bumblebee/tensors.zip.',
    'safetensors/burn/',
    'safetensors/candle/',
    'safetensors/hf_samples/',
    'safetensors/mlverse/',
    'synthetic/hf_router_logits/',
    'synthetic/megatron_router_trace/router_state_rank0.pt',
    'synthetic/miles/samples_empty.',
    'synthetic/miles/samples_null.',
    'synthetic/npy_odd/f16.',
    'synthetic/npy_odd/scalar0d.',
    'synthetic/npy_odd/structured.',
    'synthetic/pt_malformed/zip_but_not_torch.',
    'synthetic/pt_refuse/torch1.13.0a0/device_dtype_size.',
    'synthetic/pt_refuse/torch1.13.0a0/set_and_bytes.',
    'synthetic/pt_refuse/torch1.13.0a0/sparse.',
    'synthetic/pt_refuse/torch2.13.0/device_dtype_size.',
    'synthetic/pt_refuse/torch2.13.0/set_and_bytes.',
    'synthetic/pt_variations/torch1.13.0a0/int_keys.',
    'synthetic/pt_variations/torch1.13.0a0/many_tensors_300.',
    'synthetic/pt_variations/torch1.13.0a0/state_dict.',
    'synthetic/pt_variations/torch2.13.0/float8.',
    'synthetic/pt_variations/torch2.13.0/state_dict.',
    'synthetic/pt_variations/torch2.13.0/uint16_32_64.',
    'synthetic/safetensors_odd/odd_aliasing_two_empty.',
    'synthetic/safetensors_odd/ok_all_dtypes.',
    'synthetic/safetensors_odd/ok_scalar_0d.',
    'synthetic/safetensors_odd/ok_unicode_name.',
    'synthetic/sglang_init_location/physical_to_logical_map.',
    'synthetic/sglang_init_location/torch2.13.0/physical_to_logical_map.',
    'synthetic/trtllm_expert_statistic/meta_info.json',
    'synthetic/vllm_ascend/gsm8k_',
    'synthetic/vllm_offline_eplb/',
  ],
  AMBIGUOUS: [
    'pt/bumblebee/noncontiguous_tensor.zip.',
    'pt/candle/fortran_tensor_3d.',
    'synthetic/npy_odd/i64_fortran.',
    'synthetic/npy_odd/layers_first.',
    'synthetic/npy_odd/u8.',
  ],
  CHOICE: [
    'synthetic/pt_variations/torch1.13.0a0/same_object_twice.',
    'synthetic/pt_variations/torch1.13.0a0/tensors.',
    'synthetic/pt_variations/torch2.13.0/list_of_tensors.',
    'synthetic/pt_variations/torch2.13.0/same_object_twice.',
    'synthetic/pt_variations/torch2.13.0/tensors.',
  ],
  DAMAGED: [
    'synthetic/pt_malformed/hand_memo_missing.',
    'synthetic/pt_malformed/hand_offset_beyond_storage.',
    'synthetic/pt_malformed/hand_persid_unknown.',
    'synthetic/pt_malformed/hand_rebuild_numel_huge.',
    'synthetic/pt_malformed/hand_stack_underflow.',
    'synthetic/pt_malformed/missing_data_record.',
    'synthetic/pt_malformed/no_central_directory.',
    'synthetic/pt_malformed/path_traversal_entry.',
    'synthetic/pt_malformed/truncated_half.',
    'synthetic/safetensors_odd/bad_begin_after_end.',
    'synthetic/safetensors_odd/bad_float_dim.',
    'synthetic/safetensors_odd/bad_gap_between_tensors.',
    'synthetic/safetensors_odd/bad_header_longer_than_file.',
    'synthetic/safetensors_odd/bad_shape_overflow.',
    'synthetic/safetensors_odd/bad_three_offsets.',
    'synthetic/safetensors_odd/bad_trailing_data.',
  ],
  UNSUPPORTED: [
    'pt/bumblebee/noncontiguous_numpy_array.',
    'pt/bumblebee/noncontiguous_tensor.legacy.',
    'pt/bumblebee/numpy_arrays.',
    'pt/bumblebee/ordered_dict.legacy.',
    'pt/bumblebee/storage_view.legacy.',
    'pt/bumblebee/tensors.legacy.',
    'synthetic/pt_malformed/hand_deep_nesting_20000.',
    'synthetic/pt_malformed/hand_ext_opcode.',
    'synthetic/pt_malformed/hand_memo_bomb.',
    'synthetic/pt_malformed/hand_reduce_os_getcwd.',
    ...['defaultdict', 'enum', 'module', 'numpy_array', 'numpy_scalar'].flatMap((name) => [
      `synthetic/pt_refuse/torch1.13.0a0/${name}.`,
      `synthetic/pt_refuse/torch2.13.0/${name}.`,
    ]),
    'synthetic/pt_variations/torch1.13.0a0/legacy_',
    'synthetic/pt_variations/torch1.13.0a0/proto4.',
    'synthetic/pt_variations/torch2.13.0/legacy',
    'synthetic/pt_variations/torch2.13.0/uint16_legacy.',
  ],
  UNKNOWN_FORMAT: [
    'synthetic/megatron_router_trace/hidden_states_',
    'synthetic/megatron_router_trace/logits_',
    'synthetic/pt_malformed/leading_junk.',
    'synthetic/safetensors_odd/bad_7_bytes.',
    'synthetic/safetensors_odd/bad_empty_file.',
    'synthetic/safetensors_odd/bad_header_len_',
    'synthetic/safetensors_odd/bad_json_array.',
    'synthetic/trtllm_eplb/',
  ],
};

/** The SHA-256 of ids as int32, little-endian. */
function sha256(ids: readonly number[]): string {
  return createHash('sha256')
    .update(new Uint8Array(Int32Array.from(ids).buffer))
    .digest('hex');
}

/** The fingerprint of recorded ids, of which the tokens come first. */
function ofTokens(tokens: readonly number[][][]): string {
  const layers = tokens[0]?.map((_, layer) => tokens.map((row) => row[layer])) ?? [];
  return sha256(layers.flat(2));
}

/** The fingerprint of what is read: all ids in the order [layers, tokens, topk], or with the tokens first. */
async function fingerprintOf(name: string, isTokensFirst = false): Promise<string> {
  const routing = await openRouting(samplePath(name), optionsOf(name));
  const { layers, tokens, topk } = routing;
  const ids = new Int32Array(layers.length * tokens * topk);
  for await (const piece of routing.pieces()) {
    for (let token = 0; token < piece.numTokens; token++) {
      const at = piece.firstToken + token;
      const row = isTokensFirst ? at * layers.length + piece.layer : piece.layer * tokens + at;
      for (let slot = 0; slot < topk; slot++) ids[row * topk + slot] = Number(piece.ids[token * topk + slot]);
    }
  }
  routing.close();
  return sha256([...ids]);
}

/** The fingerprints of all samples whose ids are recorded. */
function recorded(): Map<string, string> {
  const found = new Map<string, string>();
  const formats = sampleFacts('expected_formats.json');
  const runs = sampleFacts('expected_producer_runs.json');
  const add = (name: string, fingerprint: string): void => void found.set(`synthetic/${name}`, fingerprint);
  for (const [name, facts] of Object.entries({ ...formats, ...runs })) {
    if (name.startsWith('vllm_response/')) {
      const { choices, values } = facts;
      add(name, ofTokens(values ?? choices.flatMap((choice: { values: number[][][] }) => choice.values)));
    } else if (name.startsWith('sglang_response/'))
      add(name, ofTokens(name.includes('batch') ? facts.rows[0] : facts.rows));
    else if (name.startsWith('prime_rl/')) add(name, ofTokens(facts.values));
    else if (/^trtllm_expert_statistic\/rank\d_raw/.test(name)) {
      add(
        name,
        sha256([3, 4].flatMap((layer) => [100, 101, 102].flatMap((step) => facts.values[`${step}_${layer}`])).flat()),
      );
    } else if (name.startsWith('slime/')) add(name, ofTokens(facts.values.flat()));
    else if (name === 'miles/samples_two.safetensors') {
      const { tensors } = facts;
      add(name, ofTokens([...tensors['rollout_routed_experts.0'], ...tensors['rollout_routed_experts.1']]));
    } else if (name.endsWith('router_trace_rank0.jsonl')) {
      add(name, sha256([facts.ids_decoder1, facts.ids_decoder2_sorted, facts.ids_mtp].flat(2)));
    } else if (name.endsWith('router_trace_rank1.jsonl')) add(name, ofTokens([...facts.ids_step0, ...facts.ids_step1]));
  }
  for (const version of ['1.13.0a0', '2.13.0']) {
    for (const [name, facts] of Object.entries(sampleFacts(`expected_torch${version}.json`))) {
      if (/bare_tensor|proto[23]\.pt/.test(name)) add(name, sha256((facts.values ?? facts.a).flat()));
      if (/expert_distribution_recorder_\S+\.25_0\.pt$/.test(name)) {
        const [first, second] = facts.ids as number[][][][];
        add(name, sha256(first.flatMap((layer, index) => [...layer, ...second[index]]).flat()));
      }
    }
  }
  return found;
}

describe('all samples', function () {
  if (!hasSamples) this.pending = true;
  const names = hasSamples
    ? readdirSync(samplePath(''), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => `${parentPath}/${name}`.slice(samplePath('').length).replace(/^\//, ''))
        .filter((name) => name.includes('/'))
    : [];

  it('are read, or refused for the right reason', async () => {
    const known = Object.entries(refused).flatMap(([code, starts]) => starts.map((start) => ({ code, start })));
    for (const name of names) {
      const outcome = await openRouting(samplePath(name), optionsOf(name)).then(
        (routing) => {
          routing.close();
          return 'read';
        },
        (error: unknown) => (error instanceof RoutingError ? error.code : String(error)),
      );
      assert.equal(outcome, known.find(({ start }) => name.startsWith(start))?.code ?? 'read', name);
    }
    for (const { start } of known)
      assert(
        names.some((name) => name.startsWith(start)),
        `there is no sample ${start}`,
      );
  });

  it('that have counts are opened as counts', async () => {
    const withCounts = names.filter((name) => refused.COUNTS.some((start) => name.startsWith(start)));
    assert.isNotEmpty(withCounts);
    for (const name of withCounts) {
      const opened = await openRoutingOrCounts(samplePath(name));
      if (opened.kind !== 'counts') return assert.fail(name);
      assert.lengthOf(opened.counts, opened.layers.length, name);
      assert(
        opened.counts.some((row) => row.length === opened.numExperts && row.some((count) => count > 0)),
        name,
      );
    }
    const path = samplePath('synthetic/trtllm_expert_statistic');
    const ranks = await Promise.all(
      [['rank0'], ['rank1'], ['rank0', 'rank1']].map((files) =>
        openRoutingOrCounts(files.map((file) => `${path}/${file}.safetensors`)),
      ),
    );
    const [first, second, both] = ranks.map((opened) => (opened.kind === 'counts' ? opened.counts : assert.fail()));
    for (const [layer, sums] of both.entries()) {
      assert.deepEqual(
        [...sums],
        [...first[layer]].map((count, expert) => count + second[layer][expert]),
      );
    }
  });

  it('of which the ids are recorded have these', async () => {
    const fingerprints = recorded();
    assert.isAbove(fingerprints.size, 20);
    for (const [name, fingerprint] of fingerprints) assert.equal(await fingerprintOf(name), fingerprint, name);
    for (const [name, { sha256_dense_int32_le }] of Object.entries(sampleFacts('facts_text.json'))) {
      assert.equal(await fingerprintOf(name, true), sha256_dense_int32_le, name);
    }
  });

  it('that are malformed are refused where their references refuse them', async () => {
    const facts = sampleFacts('expected_malformed.json');
    assert.isNotEmpty(facts);
    for (const [path, { reference, torch_2_13 }] of Object.entries(facts)) {
      const verdict: string = reference ?? torch_2_13;
      const outcome = await openRouting(samplePath(`synthetic/${path}`), optionsOf(`synthetic/${path}`)).then(
        async (routing) => {
          for await (const _ of routing.pieces());
          routing.close();
          return 'accepted';
        },
        // What holds no ids is sound all the same
        ({ code }: RoutingError) => (code === 'NOT_ROUTING' ? 'accepted, and declined' : 'refused'),
      );
      // The reference reads bfloat16, but numpy, to which it gave the tensors here, does not have it; and a zip archive
      // of other files is no .pt, and not damaged.
      const isOurs = verdict === "refused: KeyError 'BF16'" || path.endsWith('zip_but_not_torch.pt');
      if (isOurs) assert.equal(outcome, 'accepted, and declined', path);
      else if (verdict.startsWith('accepted')) assert.match(outcome, /^accepted/, path);
      else assert.equal(outcome, 'refused', `${path}: ${verdict}`);
    }
  });
});
