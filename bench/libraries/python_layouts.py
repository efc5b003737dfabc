"""Times the whole layout in Python: python_layouts.py TOKENS TOPK EXPERTS RANKS, with 8 ranks a node.

Standard input has the int64 ids, and after them the right outputs: tokens per rank, per node (nothing within one node)
and per expert as int32, and the mask."""

import os
import sys

from python_timing import numpy, print_seconds, read, torch

if torch is not None:
    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../test/parity"))
    import deepep_reference

RANKS_PER_NODE = 8


def with_numpy(ids, num_experts, num_ranks):
    # The empty id, -1, is on rank -1, which is the last column
    ranks = ids // (num_experts // num_ranks)
    mask = numpy.zeros((len(ids), num_ranks + 1), bool)
    mask[numpy.arange(len(ids))[:, None], ranks] = True
    mask = numpy.ascontiguousarray(mask[:, :-1])
    per_node = None
    if num_ranks > RANKS_PER_NODE:
        # The eight ranks of a node are the eight bytes of a number
        per_node = (mask.view(numpy.int64) != 0).sum(0, dtype=numpy.int32)
    per_expert = numpy.bincount(ids.ravel() + 1, minlength=num_experts + 1)[1:].astype(numpy.int32)
    return mask.sum(0, dtype=numpy.int32), per_node, per_expert, mask


def with_torch(ids, num_experts, num_ranks):
    """The same operations as with numpy."""
    ranks = torch.where(ids < 0, num_ranks, ids // (num_experts // num_ranks))
    mask = torch.zeros(len(ids), num_ranks + 1, dtype=torch.bool)
    mask = mask.scatter_(1, ranks, True)[:, :-1].contiguous()
    per_node = None
    if num_ranks > RANKS_PER_NODE:
        per_node = (mask.view(torch.int64) != 0).sum(0, dtype=torch.int32)
    per_expert = torch.bincount(ids.ravel() + 1, minlength=num_experts + 1)[1:].int()
    return mask.sum(0, dtype=torch.int32), per_node, per_expert, mask


def with_reference(ids, num_experts, num_ranks):
    layout = deepep_reference.layout(ids, num_experts, num_ranks)
    return (
        layout["num_tokens_per_rank"],
        layout.get("num_tokens_per_rdma_rank"),
        layout["num_tokens_per_expert"],
        layout["is_token_in_rank"],
    )


def main():
    num_tokens, num_topk, num_experts, num_ranks = [int(size) for size in sys.argv[1:]]
    num_nodes = num_ranks // RANKS_PER_NODE if num_ranks > RANKS_PER_NODE else 0
    ids = read(numpy.int64, num_tokens, num_topk)
    expected = (
        read(numpy.int32, num_ranks),
        read(numpy.int32, num_nodes) if num_nodes > 0 else None,
        read(numpy.int32, num_experts),
        read(numpy.bool_, num_tokens, num_ranks),
    )
    of = lambda layout: lambda ids: layout(ids, num_experts, num_ranks)
    torch_layouts = {"PyTorch": of(with_torch), "PyTorch, DeepEP's tests": of(with_reference)}
    print_seconds(ids, expected, of(with_numpy), torch_layouts)


main()
