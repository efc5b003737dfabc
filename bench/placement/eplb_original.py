"""Times rebalance_experts of EPLB: python3 eplb_original.py EPLB.PY LOADS.JSON REPLICAS GROUPS NODES GPUS."""

import importlib.util
import json
import sys
import time

import torch

spec = importlib.util.spec_from_file_location("eplb", sys.argv[1])
eplb = importlib.util.module_from_spec(spec)
spec.loader.exec_module(eplb)
with open(sys.argv[2]) as file:
    loads = torch.tensor(json.load(file))
shape = [int(number) for number in sys.argv[3:]]
times = []
for _ in range(5):
    start = time.perf_counter()
    eplb.rebalance_experts(loads, *shape)
    times.append(time.perf_counter() - start)
print(json.dumps({"seconds": sorted(times)[2], "torch": torch.__version__}))
