/**
 * Vectors that were computed with the code of the other projects, or from its rules, if their file is there. They are
 * compared with what the lines of `peer-names.ts` make of our orders.
 *
 * @module
 */
import { existsSync, readFileSync } from 'node:fs';
import { assert } from 'chai';
import { type ExpertOrderOptions, type ExpertPermutation, getExpertPermutation } from 'dispatch-layout';
import { expertOrderNames } from './peer-names.ts';

type Rows = readonly (readonly number[])[];

/** A vector of any project. Each project has names of its own for its inputs and its results. */
interface SharedVector {
  readonly id: string;
  readonly source: string;
  // biome-ignore lint/suspicious/noExplicitAny: the fields differ from vector to vector
  readonly input: any;
  // biome-ignore lint/suspicious/noExplicitAny: likewise
  readonly expected: any;
}

/** The vectors in `../shared/samples` beside the repository, or none if the file is not there. */
export function readSharedVectors(): readonly SharedVector[] {
  const url = new URL('../../../shared/samples/vectors.json', import.meta.url);
  return existsSync(url) ? JSON.parse(readFileSync(url, 'utf8')) : [];
}

/** The first elements of what a line makes of an order: as many as there are rows, blocks or selections. */
function named(peer: string, name: string, order: ExpertPermutation, length?: number): readonly number[] {
  const value = expertOrderNames[peer][name](order);
  return (typeof value === 'number' ? [value] : Array.from(value)).slice(0, length);
}

/** The rows of each token in ascending order. They are then in the order of the token's experts, too. */
function rowsOfTokens({ rowOfSelection, numTopk, numTokens }: ExpertPermutation): number[][] {
  return Array.from({ length: numTokens }, (_, token) =>
    Array.from(rowOfSelection.slice(token * numTopk, (token + 1) * numTopk).sort()),
  );
}

type Comparison = (vector: SharedVector) => void;

/** How vectors are compared, by the beginnings of their ids. */
const comparisons: Readonly<Record<string, Comparison>> = {
  megatron_permute: ({ input, expected }) => {
    const order = getExpertPermutation(input.topk_ids as Rows, input.num_experts);
    assert.deepStrictEqual(named('Megatron', 'sorted_indices', order), expected.sorted_indices);
    assert.deepStrictEqual(named('Megatron', 'tokens_per_expert', order), expected.tokens_per_expert);
    assert.deepStrictEqual(rowsOfTokens(order), expected.inverse_rows);
  },
  flashinfer_routing: ({ input, expected }) => {
    const peer = 'FlashInfer, TensorRT-LLM';
    const topkIdx = expected.topKIndices as Rows;
    const order = getExpertPermutation(topkIdx, expected.numTokensPerExpert.length, { alignment: input.padding });
    const size = expected.permutedBufferSize;
    assert.deepStrictEqual(named(peer, 'total_num_padded_tokens', order), [size]);
    assert.deepStrictEqual(named(peer, 'permuted_idx_to_expanded_idx', order, size), expected.permutedIdxToExpandedIdx);
    assert.deepStrictEqual(
      named(peer, 'expanded_idx_to_permuted_idx', order),
      expected.expandedTokenIdxToPermutedIdx.flat(),
    );
    assert.deepStrictEqual(named(peer, 'permuted_idx_to_token_idx', order, size), expected.permutedIdxToTokenIdx);
    assert.deepStrictEqual(Array.from(order.expertOffsets), expected.paddedTokensPerExpertPrefixSum);
    assert.deepStrictEqual(Array.from(order.numTokensPerExpert), expected.numTokensPerExpert);
  },
  mori_local_count: ({ input, expected }) => {
    const { rank, world_size: numRanks, experts_per_rank: numLocalExperts } = input;
    const received = (input.indices as Rows).slice(0, input.total_recv);
    const options: ExpertOrderOptions = { firstExpert: rank * numLocalExperts, numLocalExperts };
    const order = getExpertPermutation(received, numRanks * numLocalExperts, options);
    assert.deepStrictEqual(named('Mori', 'local_expert_count', order), expected.local_expert_count);
  },
  // The kernel leaves the order inside an expert open. The vectors have it ascending, as the doc comment does, and so
  // they can be compared row by row up to num_tokens_post_padded. What is behind that differs from version to version.
  vllm_align: ({ input, expected }) => {
    const topkIdx = input.topk_ids as Rows;
    // The ids in the doc comment go to 4, although it says that there are 4 experts
    const numExperts = Math.max(input.num_experts ?? 0, Math.max(...topkIdx.flat()) + 1);
    const order = getExpertPermutation(topkIdx, numExperts, { alignment: input.block_size });
    const peer = 'vLLM, SGLang';
    const numRows = expected.num_tokens_post_padded;
    const tokenIds = (expected.sorted_token_ids ?? expected.token_ids) as readonly number[];
    assert.deepStrictEqual(named(peer, 'num_tokens_post_padded', order), [numRows]);
    assert.deepStrictEqual(named(peer, 'sorted_token_ids', order, numRows), tokenIds.slice(0, numRows));
    if (expected.expert_ids === undefined) return;
    const numBlocks = numRows / input.block_size;
    const experts = named(peer, 'expert_ids', order, numBlocks);
    const localExperts = input.expert_map === null ? experts : experts.map((expert) => input.expert_map[expert]);
    assert.deepStrictEqual(localExperts, expected.expert_ids.slice(0, numBlocks));
  },
  sglang_ep_preprocess: ({ input, expected }) => {
    const order = getExpertPermutation(input.topk_ids as Rows, input.num_experts);
    for (const name of ['reorder_topk_ids', 'src2dst', 'seg_indptr']) {
      assert.deepStrictEqual(named('SGLang', name, order), expected[name], name);
    }
  },
  deepgemm_contiguous: ({ input, expected }) => {
    const sizes = input.group_sizes as readonly number[];
    const topkIdx = sizes.flatMap((size, group) => Array.from({ length: size }, () => [group]));
    const order = getExpertPermutation(topkIdx, sizes.length, { alignment: input.alignment });
    for (const name of ['m_indices', 'psum_layout', 'masked_m']) {
      assert.deepStrictEqual(named('DeepGEMM', name, order), expected[name], name);
    }
    assert.strictEqual(order.numRows, expected.m);
  },
  megablocks_bins: ({ input, expected }) => {
    const topkIdx = (input.top_experts as readonly number[]).map((expert) => [expert]);
    const order = getExpertPermutation(topkIdx, input.num_experts);
    for (const name of ['indices', 'bin_ids', 'bins', 'tokens_per_expert']) {
      assert.deepStrictEqual(named('MegaBlocks', name, order), expected[name], name);
    }
    const padded = getExpertPermutation(topkIdx, input.num_experts, { alignment: 128 });
    assert.deepStrictEqual(named('MegaBlocks', 'padded_bins', padded), expected.padded_bins);
  },
  // The table itself is not covered, but the rows in it are ours
  te_row_id_map: ({ input, expected }) => {
    const order = getExpertPermutation(input.topk_ids as Rows, input.num_experts);
    assert.deepStrictEqual(
      rowsOfTokens(order).map((rows) => rows.reverse()),
      expected.dest_rows,
    );
  },
};

/** Why other vectors are not compared, by the beginnings of their ids. */
const notCompared: Readonly<Record<string, string>> = {
  eplb: 'it places experts, and orders no rows',
  megatron_drop: 'tokens are dropped by probability or position, which an order does not know',
  megatron_pad_routing_map: 'it makes tokens select experts that the router did not select',
  megatron_capacity: 'capacities belong to the dropping of tokens',
  nccl_ep: 'the places depend on what other ranks send',
  deepep_v2_dispatch: 'the rows that a rank receives depend on what other ranks send',
};

function entryOf<Value>(id: string, table: Readonly<Record<string, Value>>): Value | undefined {
  return Object.entries(table).find(([beginning]) => id.startsWith(beginning))?.[1];
}

/** Declares a test for each vector. */
export function sharedVectors(): void {
  const vectors = readSharedVectors();
  if (vectors.length === 0) it.skip('the vectors are not here');
  for (const vector of vectors) {
    const compare = entryOf(vector.id, comparisons);
    const reason = entryOf(vector.id, notCompared) ?? 'these tests do not know it';
    if (compare === undefined) it.skip(`${vector.id} is not compared: ${reason}`);
    else it(vector.id, () => compare(vector));
  }
}
