"""The histogram of experts by numpy: numpy_bincount.py T K E. Reads T * K int64 ids from stdin and prints the counts;
then, for every line that it reads, the seconds that one histogram takes."""

import json
import sys
import time

import numpy

num_tokens, num_topk, num_experts = map(int, sys.argv[1:])
ids = numpy.frombuffer(sys.stdin.buffer.read(8 * num_tokens * num_topk), numpy.int64)
print(json.dumps(numpy.bincount(ids, minlength=num_experts).tolist()), flush=True)

for _ in sys.stdin.buffer:
    repetitions = 1
    while True:
        start = time.perf_counter()
        for _ in range(repetitions):
            numpy.bincount(ids, minlength=num_experts)
        elapsed = time.perf_counter() - start
        if elapsed > 0.03:
            break
        repetitions *= 2
    print(elapsed / repetitions, flush=True)
