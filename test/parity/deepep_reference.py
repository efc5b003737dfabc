"""The dispatch layout as DeepEP's own tests compute it in PyTorch, to check its kernel.

The operations are those of DeepEP's test_intranode.py and test_internode.py, except that the mask is taken as soon as
it is known: the tests go on to sort the tokens of each rank, which no output of the layout needs. What they compare
with is `get_dispatch_layout` of the class `Buffer` in deep_ep/buffers/legacy.py (commit dd758ca)."""

import torch

RANKS_PER_NODE = 8


def unique_in_rows(x, num_values):
    """Leaves every value of a row in it once, the largest first, and fills the row with -1. Negative values are
    empty. DeepEP calls it inplace_unique."""
    values = x.masked_fill(x < 0, num_values)
    counts = torch.zeros(len(x), num_values + 1, dtype=x.dtype)
    counts.scatter_add_(1, values, torch.ones_like(values))
    counts, values = counts[:, :num_values].sort(dim=-1, descending=True)
    values = values.masked_fill_(counts == 0, -1).sort(dim=-1, descending=True).values
    length = min(num_values, x.size(1))
    x.fill_(-1)
    x[:, :length] = values[:, :length]


def expert_counts(topk_idx, num_experts):
    counts = torch.zeros(num_experts, dtype=torch.int)
    for expert in range(num_experts):
        counts[expert] = (topk_idx == expert).sum()
    return {"num_tokens_per_expert": counts}


def rank_outputs(topk_idx, experts_per_rank, num_ranks):
    empty = topk_idx == -1
    rank_idx = (topk_idx // experts_per_rank).masked_fill_(empty, -1)
    unique_in_rows(rank_idx, num_ranks)
    per_rank = torch.zeros(num_ranks, dtype=torch.int)
    mask = torch.zeros(len(topk_idx), num_ranks, dtype=torch.bool)
    for rank in range(num_ranks):
        of_rank = rank_idx == rank
        per_rank[rank] = of_rank.sum()
        mask[:, rank] = of_rank.any(dim=-1)
    outputs = {"num_tokens_per_rank": per_rank, "is_token_in_rank": mask}
    if num_ranks > RANKS_PER_NODE:
        node_idx = (rank_idx // RANKS_PER_NODE).masked_fill_(rank_idx == -1, -1)
        num_nodes = num_ranks // RANKS_PER_NODE
        unique_in_rows(node_idx, num_nodes)
        per_node = torch.zeros(num_nodes, dtype=torch.int)
        for node in range(num_nodes):
            per_node[node] = (node_idx == node).sum()
        outputs["num_tokens_per_rdma_rank"] = per_node
    return outputs


def layout(topk_idx, num_experts, num_ranks):
    """The outputs by the names that DeepEP gives them; within one node there is no num_tokens_per_rdma_rank."""
    return {**expert_counts(topk_idx, num_experts), **rank_outputs(topk_idx, num_experts // num_ranks, num_ranks)}
