"""Times the whole layout in Python: python_layouts.py TOKENS TOPK EXPERTS RANKS, with 8 ranks a node.

Standard input has the int64 ids, and after them the right outputs: tokens per rank, per node (nothing within one node)
and per expert as int32, and the mask. Every function is compared with these outputs before it is timed. The output is
one JSON object with the seconds that each function takes, without those whose packages are not installed."""

import json
import os
import statistics
import sys
import time

try:
    import numpy
except ImportError:
    sys.exit(print("{}"))
try:
    import torch

    sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../test/parity"))
    import deepep_reference
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    torch = None

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


def check(name, outputs, expected):
    for output, right in zip(outputs, expected):
        output = None if output is None else numpy.asarray(output)
        if output is None and right is None:
            continue
        if output is None or right is None or output.dtype != right.dtype or not numpy.array_equal(output, right):
            sys.exit(f"'{name}' computes a wrong layout")


def seconds_of(compute):
    """The median of at least five runs, and of as many as take a third of a second."""
    seconds = []
    end = time.perf_counter() + 1 / 3
    while len(seconds) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        compute()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main():
    num_tokens, num_topk, num_experts, num_ranks = sizes = [int(size) for size in sys.argv[1:]]
    num_nodes = num_ranks // RANKS_PER_NODE if num_ranks > RANKS_PER_NODE else 0

    def read(dtype, *shape):
        count = int(numpy.prod(shape))
        return numpy.frombuffer(sys.stdin.buffer.read(count * dtype().itemsize), dtype).reshape(shape).copy()

    ids = read(numpy.int64, num_tokens, num_topk)
    expected = (
        read(numpy.int32, num_ranks),
        read(numpy.int32, num_nodes) if num_nodes > 0 else None,
        read(numpy.int32, num_experts),
        read(numpy.bool_, num_tokens, num_ranks),
    )
    results = {}

    def measure(name, layout, ids):
        compute = lambda: layout(ids, num_experts, num_ranks)
        check(name, compute(), expected)
        results[name] = seconds_of(compute)

    measure("numpy", with_numpy, ids)
    if torch is not None:
        default = torch.get_num_threads()
        for threads in sorted({1, default}):
            torch.set_num_threads(threads)
            suffix = "" if threads == 1 else f", {threads} threads"
            measure(f"PyTorch{suffix}", with_torch, torch.from_numpy(ids))
            measure(f"PyTorch, DeepEP's tests{suffix}", with_reference, torch.from_numpy(ids))
    print(json.dumps(results))


main()
