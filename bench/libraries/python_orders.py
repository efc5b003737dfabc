"""Times whole orders of rows in Python: python_orders.py byExpert|byRank TOKENS TOPK EXPERTS RANKS.

Standard input has the int64 ids, and after them the four right outputs as int32: the counts, the offsets, what is in
each row, and the row of each selection. There is no padding, and the first selection of a token for a rank has the
row."""

import sys

from python_timing import numpy, print_seconds, read, torch


def by_expert_with_numpy(ids, num_experts, _):
    ids = ids.ravel()
    counts = numpy.bincount(ids + 1, minlength=num_experts + 1)[1:].astype(numpy.int32)
    offsets = numpy.zeros(num_experts + 1, numpy.int32)
    numpy.cumsum(counts, out=offsets[1:])
    # Of 16-bit numbers, numpy's stable sort is a radix sort, which is much faster. The empty id, -1, becomes the last
    order = numpy.argsort(ids.astype(numpy.uint16), kind="stable")
    kept = order[: offsets[-1]]
    row_of_selection = numpy.full(len(ids), -1, numpy.int32)
    row_of_selection[kept] = numpy.arange(len(kept), dtype=numpy.int32)
    order[offsets[-1] :] = -1
    return counts, offsets, order.astype(numpy.int32), row_of_selection


def by_expert_with_torch(ids, num_experts, _):
    """The same operations as with numpy."""
    ids = ids.ravel()
    counts = torch.bincount(ids + 1, minlength=num_experts + 1)[1:]
    offsets = torch.zeros(num_experts + 1, dtype=torch.int32)
    torch.cumsum(counts, 0, out=offsets[1:])
    order = torch.sort(torch.where(ids < 0, num_experts, ids).short(), stable=True).indices
    kept = order[: offsets[-1]]
    row_of_selection = torch.full((len(ids),), -1, dtype=torch.int32)
    row_of_selection[kept] = torch.arange(len(kept), dtype=torch.int32)
    order[offsets[-1] :] = -1
    return counts.int(), offsets, order.int(), row_of_selection


def by_rank_with_numpy(ids, num_experts, num_ranks):
    num_tokens, num_topk = ids.shape
    # The empty id, -1, is on rank -1, which is the last column
    ranks = ids // (num_experts // num_ranks)
    # The first slot of each token for each rank is written last
    first_slot = numpy.full((num_tokens, num_ranks + 1), -1, numpy.int16)
    for slot in reversed(range(num_topk)):
        first_slot[numpy.arange(num_tokens), ranks[:, slot]] = slot
    first_slot = first_slot[:, :-1].T.ravel()
    is_row = first_slot >= 0
    counts = is_row.reshape(num_ranks, num_tokens).sum(1, dtype=numpy.int32)
    offsets = numpy.zeros(num_ranks + 1, numpy.int32)
    numpy.cumsum(counts, out=offsets[1:])
    place = numpy.flatnonzero(is_row)
    token = place - place // num_tokens * num_tokens
    token_of_row = numpy.full(num_tokens * min(num_topk, num_ranks), -1, numpy.int32)
    token_of_row[: len(token)] = token
    row_of_selection = numpy.full(num_tokens * num_topk, -1, numpy.int32)
    row_of_selection[token * num_topk + first_slot[place]] = numpy.arange(len(token), dtype=numpy.int32)
    return counts, offsets, token_of_row, row_of_selection


def by_rank_with_torch(ids, num_experts, num_ranks):
    """The same operations as with numpy."""
    num_tokens, num_topk = ids.shape
    ranks = torch.where(ids < 0, num_ranks, ids // (num_experts // num_ranks))
    first_slot = torch.full((num_tokens, num_ranks + 1), -1, dtype=torch.int16)
    for slot in reversed(range(num_topk)):
        first_slot.scatter_(1, ranks[:, slot : slot + 1], slot)
    first_slot = first_slot[:, :-1].T.reshape(-1)
    is_row = first_slot >= 0
    counts = is_row.view(num_ranks, num_tokens).sum(1, dtype=torch.int32)
    offsets = torch.zeros(num_ranks + 1, dtype=torch.int32)
    torch.cumsum(counts, 0, out=offsets[1:])
    place = torch.nonzero(is_row).squeeze(1)
    token = place - torch.div(place, num_tokens, rounding_mode="floor") * num_tokens
    token_of_row = torch.full((num_tokens * min(num_topk, num_ranks),), -1, dtype=torch.int32)
    token_of_row[: len(token)] = token.int()
    row_of_selection = torch.full((num_tokens * num_topk,), -1, dtype=torch.int32)
    row_of_selection[token * num_topk + first_slot[place]] = torch.arange(len(token), dtype=torch.int32)
    return counts, offsets, token_of_row, row_of_selection


ORDERS = {
    "byExpert": (by_expert_with_numpy, by_expert_with_torch),
    "byRank": (by_rank_with_numpy, by_rank_with_torch),
}


def main():
    kind, *sizes = sys.argv[1:]
    num_tokens, num_topk, num_experts, num_ranks = [int(size) for size in sizes]
    num_keys, max_per_token = (num_experts, num_topk) if kind == "byExpert" else (num_ranks, min(num_topk, num_ranks))
    ids = read(numpy.int64, num_tokens, num_topk)
    lengths = [num_keys, num_keys + 1, num_tokens * max_per_token, num_tokens * num_topk]
    expected = [read(numpy.int32, length) for length in lengths]
    of = lambda order: lambda ids: order(ids, num_experts, num_ranks)
    with_numpy, with_torch = ORDERS[kind]
    print_seconds(ids, expected, of(with_numpy), {"PyTorch": of(with_torch)})


main()
