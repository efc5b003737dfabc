"""Counts with numpy what the report counts: tokens by expert, by rank and by node. FILE EXPERTS RANKS"""

import sys

import numpy

path, num_experts, num_ranks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ids = numpy.load(path, mmap_mode="r")
per_expert = numpy.zeros(num_experts, numpy.int64)
per_rank = numpy.zeros(num_ranks, numpy.int64)
per_node = numpy.zeros(num_ranks // 8, numpy.int64)
# Pieces that fit the cache are faster than all at once, which would take several times the memory of the file.
for first in range(0, len(ids), 16384):
    piece = ids[first : first + 16384]
    per_expert += numpy.bincount(piece.ravel(), minlength=num_experts)
    mask = numpy.zeros((len(piece), num_ranks), bool)
    mask[numpy.arange(len(piece))[:, None], piece // (num_experts // num_ranks)] = True
    per_rank += mask.sum(0)
    per_node += mask.reshape(len(piece), -1, 8).any(2).sum(0)
print(per_rank[:4], per_node[:4], per_expert[:4])
