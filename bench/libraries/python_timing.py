"""What the scripts that time Python share. Without numpy, importing this prints an empty result and ends the script;
without PyTorch, `torch` is None."""

import json
import statistics
import sys
import time

try:
    import numpy
except ImportError:
    sys.exit(print("{}"))
try:
    import torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    torch = None


def read(dtype, *shape):
    """The next array of standard input."""
    count = int(numpy.prod(shape))
    return numpy.frombuffer(sys.stdin.buffer.read(count * dtype().itemsize), dtype).reshape(shape).copy()


def check(name, outputs, expected):
    for output, right in zip(outputs, expected):
        output = None if output is None else numpy.asarray(output)
        if output is None and right is None:
            continue
        if output is None or right is None or output.dtype != right.dtype or not numpy.array_equal(output, right):
            sys.exit(f"'{name}' computes a wrong result")


def seconds_of(compute):
    """The median of at least five runs, and of as many as take a third of a second."""
    seconds = []
    end = time.perf_counter() + 1 / 3
    while len(seconds) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        compute()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def print_seconds(ids, expected, with_numpy, torch_functions):
    """Compares what the functions make of the ids with what is expected, and times them. The output is one JSON object
    with the seconds that each function takes: that of numpy, and those of PyTorch by their names, in one thread and in
    as many as PyTorch would use."""
    results = {}

    def measure(name, function, ids):
        check(name, function(ids), expected)
        results[name] = seconds_of(lambda: function(ids))

    measure("numpy", with_numpy, ids)
    if torch is not None:
        default = torch.get_num_threads()
        for threads in sorted({1, default}):
            torch.set_num_threads(threads)
            suffix = "" if threads == 1 else f", {threads} threads"
            for name, function in torch_functions.items():
                measure(f"{name}{suffix}", function, torch.from_numpy(ids))
    print(json.dumps(results))
