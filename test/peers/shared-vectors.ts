/**
 * Vectors that were computed with the code of the other projects, or from its rules, if their file is there. They are
 * compared with what the lines of `peer-names.ts` make of our orders.
 *
 * @module
 */
import { existsSync, readFileSync } from 'node:fs';
import { assert } from 'chai';
import {
  type ExpertOrderOptions,
  type ExpertPermutation,
  getExpertPermutation,
  type ReceivedTokens,
  simulateDispatch,
} from 'dispatch-layout';
import { expertOrderNames } from './peer-names.ts';
import { receivedNames } from './received-names.ts';

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

/** What a received token is called in the vectors of NCCL EP: `value(source rank, token)`. */
type ValueOf = (source: number, token: number) => number;

/** The values of the received tokens of a rank, in the order of arrival. */
function valuesOf({ sourceRankOfRow, sourceTokenOfRow }: ReceivedTokens, valueAt: ValueOf): number[] {
  return Array.from(sourceRankOfRow, (source, row) => valueAt(source, sourceTokenOfRow[row]));
}

/** How vectors of whole groups are compared, by the beginnings of their ids. */
const groupComparisons: Readonly<Record<string, Comparison>> = {
  nccl_ep_s2d_rank_major: ({ input, expected }) => {
    const { ranks } = simulateDispatch(input.topk_ids, input.num_experts);
    const slots = (input.topk_ids as Rows[]).map((rows) => rows.map(() => ranks.map(() => -1)));
    for (const [rank, { received }] of ranks.entries()) {
      for (const [row, source] of received.sourceRankOfRow.entries()) {
        slots[source][received.sourceTokenOfRow[row]][rank] = row;
      }
    }
    assert.deepStrictEqual(slots, expected.s2d);
  },
  nccl_ep_output_layout: ({ input, expected }) => {
    const value: ValueOf = (source, token) => source * input.topk_ids[0].length + token + 1;
    for (const [rank, { received }] of simulateDispatch(input.topk_ids, input.num_experts).ranks.entries()) {
      const values = valuesOf(received, value);
      if (expected.rank_major !== undefined) assert.deepStrictEqual(values, expected.rank_major[rank]);
      const order = getExpertPermutation(received.topkIdx, received.numLocalExperts);
      const zones = Array.from({ length: received.numLocalExperts }, (_, expert) =>
        Array.from(order.selectionOfRow.slice(order.expertOffsets[expert], order.expertOffsets[expert + 1])).map(
          (selection) => values[Math.floor(selection / order.numTopk)],
        ),
      );
      if (expected.expert_major !== undefined) assert.deepStrictEqual(zones, expected.expert_major[rank]);
    }
    if (expected.aligned4 === undefined) return;
    for (const { received } of simulateDispatch(input.topk_ids, input.num_experts, { alignment: 4 }).ranks) {
      for (const [name, numbers] of Object.entries(expected.aligned4)) {
        const ours = receivedNames['NCCL EP'][name](received);
        assert.deepStrictEqual(typeof ours === 'number' ? ours : Array.from(ours), numbers, name);
      }
    }
  },
  deepep_v2_dispatch: ({ input, expected }) => {
    const dispatch = simulateDispatch(input.topk_idx_per_rank, input.num_experts);
    for (const [rank, { layout, received }] of dispatch.ranks.entries()) {
      const sent = expected.send_layout_per_rank[rank];
      assert.deepStrictEqual(Array.from(layout.numTokensPerRank), sent.num_tokens_per_rank);
      assert.deepStrictEqual(Array.from(layout.numTokensPerExpert), sent.num_tokens_per_expert);
      assert.deepStrictEqual(Array.from(layout.isTokenInRank, Boolean), sent.is_token_in_rank.flat());
      const came = expected.recv_per_rank[rank];
      const tokenIdx: ValueOf = (source, token) => source * input.num_max_tokens_per_rank + token;
      assert.deepStrictEqual(valuesOf(received, tokenIdx), came.recv_src_token_idx);
      assert.deepStrictEqual(
        valuesOf(received, (source, token) => source * 100 + token + 1),
        came.recv_x,
      );
      assert.deepStrictEqual(Array.from(received.topkIdx.data), came.recv_topk_idx.flat());
      assert.deepStrictEqual(Array.from(received.numTokensPerSourceRank), came.num_recv_tokens_per_rank);
    }
  },
};

/** Why other vectors are not compared, by the beginnings of their ids. */
const notCompared: Readonly<Record<string, string>> = {
  eplb: 'it places experts, and orders no rows',
  megatron_drop: 'tokens are dropped by probability or position, which an order does not know',
  megatron_pad_routing_map: 'it makes tokens select experts that the router did not select',
  megatron_capacity: 'capacities belong to the dropping of tokens',
};

function entryOf<Value>(id: string, table: Readonly<Record<string, Value>>): Value | undefined {
  return Object.entries(table).find(([beginning]) => id.startsWith(beginning))?.[1];
}

/** Declares a test for each vector. */
export function sharedVectors(): void {
  const vectors = readSharedVectors();
  if (vectors.length === 0) it.skip('the vectors are not here');
  for (const vector of vectors) {
    const compare = entryOf(vector.id, { ...comparisons, ...groupComparisons });
    const reason = entryOf(vector.id, notCompared) ?? 'these tests do not know it';
    if (compare === undefined) it.skip(`${vector.id} is not compared: ${reason}`);
    else it(vector.id, () => compare(vector));
  }
}
