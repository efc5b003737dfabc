// The layout in one pass, in C as one would write it without tuning. It is compiled by emcc -O3 -msimd128.
#include <stdint.h>
#include <string.h>

struct Request {
  const int64_t* ids;
  uint32_t num_tokens, num_topk, num_experts, num_ranks, num_ranks_per_node;
  const uint32_t* rank_of_expert;
  uint32_t* num_tokens_per_rank;
  uint32_t* num_tokens_per_rdma_rank;  // NULL within one node
  uint32_t* num_tokens_per_expert;
  uint32_t* last_token_of_node;
  uint8_t* is_token_in_rank;
};

static void zero_counts(const struct Request* q) {
  memset(q->num_tokens_per_rank, 0, q->num_ranks * sizeof(uint32_t));
  memset(q->num_tokens_per_expert, 0, q->num_experts * sizeof(uint32_t));
  if (!q->num_tokens_per_rdma_rank) return;
  const uint32_t num_nodes = q->num_ranks / q->num_ranks_per_node;
  memset(q->num_tokens_per_rdma_rank, 0, num_nodes * sizeof(uint32_t));
  memset(q->last_token_of_node, 0xff, num_nodes * sizeof(uint32_t));
}

static int is_expert(const struct Request* q, int64_t id) { return id >= 0 && id < q->num_experts; }

void layout(const struct Request* q) {
  zero_counts(q);
  memset(q->is_token_in_rank, 0, q->num_tokens * q->num_ranks);
  const int64_t* ids = q->ids;
  uint8_t* row = q->is_token_in_rank;
  for (uint32_t token = 0; token < q->num_tokens; token++, ids += q->num_topk, row += q->num_ranks) {
    for (uint32_t slot = 0; slot < q->num_topk; slot++) {
      if (!is_expert(q, ids[slot])) continue;
      q->num_tokens_per_expert[ids[slot]]++;
      const uint32_t rank = q->rank_of_expert[ids[slot]];
      if (row[rank]) continue;
      row[rank] = 1;
      q->num_tokens_per_rank[rank]++;
      if (!q->num_tokens_per_rdma_rank) continue;
      const uint32_t node = rank / q->num_ranks_per_node;
      if (q->last_token_of_node[node] == token) continue;
      q->last_token_of_node[node] = token;
      q->num_tokens_per_rdma_rank[node]++;
    }
  }
}
