"""
A PyTorch process shares its topk_idx with Node.js by CUDA inter-process communication, as docs/cuda.md says. Both must
compute the same layout, and PyTorch must get its memory back.
"""

import ctypes
import json
import subprocess
import sys

import torch

NUM_TOKENS, NUM_TOPK, NUM_EXPERTS, NUM_RANKS = 4096, 8, 256, 16

driver = ctypes.CDLL("libcuda.so.1")


def share(tensor):
    """The IPC handle of the block that a tensor lies in, and the byte of it at which the tensor begins."""
    base, handle = ctypes.c_uint64(), (ctypes.c_ubyte * 64)()
    if driver.cuMemGetAddressRange_v2(ctypes.byref(base), None, ctypes.c_uint64(tensor.data_ptr())) != 0:
        raise RuntimeError("this is no memory of a GPU")
    if driver.cuIpcGetMemHandle(handle, base) != 0:
        raise RuntimeError("this memory cannot be shared: is PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True set?")
    return bytes(handle), tensor.data_ptr() - base.value


scores = torch.rand(NUM_TOKENS, NUM_EXPERTS, device="cuda")
# With this padding, topk_idx is not at the start of its storage, so the offset matters.
padding = torch.zeros(1000, dtype=torch.int64, device="cuda")
topk_idx = scores.topk(NUM_TOPK).indices.contiguous()
handle, offset_bytes = share(topk_idx)
torch.cuda.synchronize()

script = """
import { getDispatchLayout } from 'dispatch-layout';
import { DeviceTensor } from 'dispatch-layout/cuda';
const { handle, byteOffset, shape, numExperts, numRanks } = JSON.parse(process.argv[1]);
const topkIdx = DeviceTensor.fromIpcHandle(Buffer.from(handle, 'hex'), shape, 'int64', { byteOffset });
const layout = getDispatchLayout(topkIdx, numExperts, { numRanks });
const result = {};
for (const name of ['numTokensPerRank', 'numTokensPerRdmaRank', 'numTokensPerExpert']) result[name] = [...layout[name].toTypedArray()];
result.selections = layout.isTokenInRank.toTypedArray().reduce((sum, value) => sum + value, 0);
console.log(JSON.stringify(result));
"""
request = dict(
    handle=handle.hex(),
    byteOffset=offset_bytes,
    shape=[NUM_TOKENS, NUM_TOPK],
    numExperts=NUM_EXPERTS,
    numRanks=NUM_RANKS,
)
print(f"handle of {len(handle)} bytes, offset {offset_bytes}")
node = subprocess.run(
    ["node", "--input-type=module", "--eval", script, json.dumps(request)], capture_output=True, text=True
)
if node.returncode != 0:
    sys.exit(node.stderr)
result = json.loads(node.stdout)

experts = torch.bincount(topk_idx.flatten(), minlength=NUM_EXPERTS)
in_rank = torch.zeros(NUM_TOKENS, NUM_RANKS, dtype=torch.bool, device="cuda")
in_rank.scatter_(1, topk_idx // (NUM_EXPERTS // NUM_RANKS), True)
in_node = in_rank.view(NUM_TOKENS, NUM_RANKS // 8, 8).any(2)
assert result["numTokensPerExpert"] == experts.tolist()
assert result["numTokensPerRank"] == in_rank.sum(0).tolist()
assert result["numTokensPerRdmaRank"] == in_node.sum(0).tolist()
assert result["selections"] == in_rank.sum().item()
print("the layout of PyTorch's topk_idx is right")

del scores, padding, topk_idx, experts, in_rank, in_node
torch.cuda.empty_cache()
assert torch.cuda.memory_allocated() == 0, "PyTorch did not get its memory back"
print("PyTorch has its memory back")
