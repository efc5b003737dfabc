"""Compares the command line with DeepEP's reference on random routing: parity.py SEED COUNT COMMAND...

COMMAND is the library's command, as in `parity.py 1 1000 dispatch-layout` or `parity.py 1 1000 node dist/cli.js`. Each of
the COUNT cases goes to it as an int64 .npy file, and comes back as an .npz, all arrays of which must equal those that
deepep_reference.py computes in PyTorch, in name, type, shape and every number.

A third of the cases are those in which the library differs from DeepEP unless it is told `--invalid-experts ignore`:
ids that are not experts, and experts that do not divide evenly among the ranks, so that the last ones are on no rank.
DeepEP's kernel narrows an id to 32 bits before it looks at it, which the library never does. Therefore all ids here fit
32 bits."""

import os
import subprocess
import sys
import tempfile

import numpy
import torch

import deepep_reference


class Cases:
    """Random cases, the same for the same seed."""

    def __init__(self, seed):
        self.random = torch.Generator().manual_seed(seed)

    def integers(self, low, high, shape):
        """From low to high, both included."""
        return torch.randint(low, high + 1, shape, generator=self.random)

    def integer(self, low, high):
        return self.integers(low, high, ()).item()

    def choice(self, options):
        return options[self.integer(0, len(options) - 1)]

    def places(self, shape):
        """Some of the places of an array: none, few, many or nearly all."""
        return torch.rand(shape, generator=self.random) < self.choice([0, 0.01, 0.3, 0.9])

    def next(self):
        ignore = self.integer(0, 2) == 0
        num_tokens = self.choice([self.integer(0, 1), self.integer(2, 100), self.integer(100, 4000)])
        num_ranks = self.choice([self.integer(1, 8), 8 * self.integer(2, 10)])
        num_experts = self.integer(1, self.choice([num_ranks, 600])) if ignore else num_ranks * self.integer(1, 40)
        shape = (num_tokens, self.integer(1, 10))
        if self.integer(0, 1) == 0 and shape[1] <= num_experts:
            # Distinct experts, as a router's top-k gives them
            scores = torch.rand(num_tokens, num_experts, generator=self.random)
            ids = scores.topk(shape[1]).indices
        else:
            # From a part of the experts, so that duplicates are frequent
            ids = self.integers(0, self.integer(0, num_experts - 1), shape)
        if ignore:
            extremes = torch.tensor([num_experts, num_experts + 1, -2, 2**31 - 1, -(2**31)])
            strangers = self.choice(
                [self.integers(-(2**31), 2**31 - 1, shape), extremes[self.integers(0, len(extremes) - 1, shape)]]
            )
            ids = torch.where(self.places(shape), strangers, ids)
        ids = ids.masked_fill(self.places(shape), -1)
        return ids, num_experts, num_ranks, ignore


def expected_layout(ids, num_experts, num_ranks, ignore):
    if not ignore:
        return deepep_reference.layout(ids, num_experts, num_ranks)
    # As in DeepEP's kernel, ids that are not experts are skipped, and an expert on no rank is counted only as an expert
    experts_per_rank = num_experts // num_ranks
    experts = ids.masked_fill((ids < 0) | (ids >= num_experts), -1)
    on_ranks = experts.masked_fill(experts >= experts_per_rank * num_ranks, -1)
    return {
        **deepep_reference.expert_counts(experts, num_experts),
        **deepep_reference.rank_outputs(on_ranks, max(1, experts_per_rank), num_ranks),
    }


def computed_layout(command, folder, ids, num_experts, num_ranks, ignore):
    routing, out = os.path.join(folder, "routing.npy"), os.path.join(folder, "layout.npz")
    numpy.save(routing, ids.numpy())
    sizes = ["--num-experts", str(num_experts), "--num-ranks", str(num_ranks)]
    mode = ["--invalid-experts", "ignore"] if ignore else []
    subprocess.run([*command, routing, *sizes, *mode, "--out", out], check=True, stdout=subprocess.DEVNULL)
    with numpy.load(out) as layout:
        return dict(layout)


def difference(computed, expected):
    """What is not equal, in words; None if everything is."""
    if computed.keys() != expected.keys():
        return f"the arrays are {sorted(computed)}, not {sorted(expected)}"
    for name, tensor in expected.items():
        right, array = tensor.numpy(), computed[name]
        if (array.dtype, array.shape) != (right.dtype, right.shape):
            return f"{name} is {array.dtype} {array.shape}, not {right.dtype} {right.shape}"
        wrong = numpy.argwhere(array != right)
        if len(wrong) > 0:
            place = tuple(wrong[0].tolist())
            return f"{name} has {len(wrong)} wrong numbers; at {place} it is {array[place]}, not {right[place]}"
    return None


def main(seed, count, *command):
    cases = Cases(int(seed))
    with tempfile.TemporaryDirectory() as folder:
        for number in range(int(count)):
            ids, num_experts, num_ranks, ignore = case = cases.next()
            what = (
                f"case {number} of seed {seed}: {list(ids.shape)} ids, {num_experts} experts, {num_ranks} ranks"
                f"{', invalid experts ignored' if ignore else ''}"
            )
            wrong = difference(computed_layout(command, folder, *case), expected_layout(*case))
            if wrong is not None:
                sys.exit(f"{what}: {wrong}")
    print(f"{count} layouts are those of DeepEP's reference")


main(*sys.argv[1:])
