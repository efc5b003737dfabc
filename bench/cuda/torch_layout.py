"""Times the layout written in PyTorch, on int64 ids: torch_layout.py <results.json> <results.md>.

Adds its times to both files. The two versions are what one writes without a kernel. One uses `bincount` for experts,
which synchronises with the host, and so cannot be in a graph. The other uses only `scatter`, and can be captured into
a graph. Both are first compared with a loop on the CPU.
"""

import json
import statistics
import sys

import torch


def layout_bincount(topk_idx, num_experts, num_ranks, ranks_per_node):
    counts = torch.bincount(topk_idx[topk_idx >= 0], minlength=num_experts).int()
    return counts, *rank_layout(topk_idx, num_experts, num_ranks, ranks_per_node)


def layout_scatter(topk_idx, num_experts, num_ranks, ranks_per_node):
    # -1 goes to a column of its own
    counts = torch.zeros(num_experts + 1, dtype=torch.int32, device=topk_idx.device)
    index = torch.where(topk_idx < 0, num_experts, topk_idx).flatten()
    counts.scatter_add_(0, index, torch.ones_like(index, dtype=torch.int32))
    return counts[:-1], *rank_layout(topk_idx, num_experts, num_ranks, ranks_per_node)


def rank_layout(topk_idx, num_experts, num_ranks, ranks_per_node):
    rank_idx = torch.where(topk_idx < 0, num_ranks, topk_idx // (num_experts // num_ranks))
    mask = torch.zeros(topk_idx.size(0), num_ranks + 1, dtype=torch.bool, device=topk_idx.device)
    mask = mask.scatter_(1, rank_idx, True)[:, :-1].contiguous()
    per_rank = mask.sum(0, dtype=torch.int32)
    per_node = None
    if num_ranks > ranks_per_node:
        per_node = mask.view(-1, num_ranks // ranks_per_node, ranks_per_node).any(2).sum(0, dtype=torch.int32)
    return per_rank, per_node, mask


def layout_loop(topk_idx, num_experts, num_ranks, ranks_per_node):
    per_expert, per_rank = [0] * num_experts, [0] * num_ranks
    per_node, mask = [0] * (num_ranks // ranks_per_node), []
    for row in topk_idx.tolist():
        ids = [i for i in row if i >= 0]
        ranks = {i // (num_experts // num_ranks) for i in ids}
        for i in ids:
            per_expert[i] += 1
        for i in ranks:
            per_rank[i] += 1
        for i in {i // ranks_per_node for i in ranks}:
            per_node[i] += 1
        mask.append([i in ranks for i in range(num_ranks)])
    return per_expert, per_rank, per_node if num_ranks > ranks_per_node else None, mask


def time_event(work, repetitions):
    times = []
    for _ in range(repetitions):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e3)
    return statistics.median(times)


def main(json_path, markdown_path):
    rows = []
    for num_tokens, num_topk, num_experts, num_ranks in [
        (128, 8, 256, 8), (4096, 8, 256, 8), (4096, 8, 256, 64), (65536, 8, 256, 64), (1 << 20, 8, 256, 64),
    ]:
        arguments = (num_experts, num_ranks, 8)
        scores = torch.rand(num_tokens, num_experts, device="cuda")
        topk_idx = scores.topk(num_topk).indices
        del scores
        sample = topk_idx[:100].clone()
        sample[::3, ::2] = -1
        expected = layout_loop(sample, *arguments)
        for layout in layout_bincount, layout_scatter:
            actual = layout(sample, *arguments)
            if any((a is None) != (e is None) or a is not None and a.tolist() != e for a, e in zip(actual, expected)):
                sys.exit(f"{layout.__name__} is wrong")
        for _ in range(3):
            layout_bincount(topk_idx, *arguments), layout_scatter(topk_idx, *arguments)
        bincount = time_event(lambda: layout_bincount(topk_idx, *arguments), 30)
        scatter = time_event(lambda: layout_scatter(topk_idx, *arguments), 30)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(4):
                layout_scatter(topk_idx, *arguments)
        graph.replay()
        scatter_graph = time_event(graph.replay, 20) / 4
        del graph
        rows.append({"num_tokens": num_tokens, "num_topk": num_topk, "num_experts": num_experts,
                     "num_ranks": num_ranks, "bincount_event_us": round(bincount, 2),
                     "scatter_event_us": round(scatter, 2), "scatter_graph_us": round(scatter_graph, 2)})

    with open(json_path) as file:
        results = json.load(file)
    results["pytorch"] = {"version": torch.__version__, "cases": rows}
    with open(json_path, "w") as file:
        json.dump(results, file, indent=2)
        file.write("\n")
    lines = [f"\n## The layout in PyTorch {torch.__version__}\n\n",
             "Microseconds, medians (`torch_layout.py`); one input, so small ones stay in the L2 cache.\n\n",
             "| T | K | E | R | bincount, event | scatter, event | scatter, graph |\n|--:|--:|--:|--:|--:|--:|--:|\n"]
    lines += ["| {num_tokens} | {num_topk} | {num_experts} | {num_ranks} | {bincount_event_us} | {scatter_event_us} | "
              "{scatter_graph_us} |\n".format(**row) for row in rows]
    with open(markdown_path, "a") as file:
        file.writelines(lines)
    print("".join(lines))


main(*sys.argv[1:])
