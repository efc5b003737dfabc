// Runs the router in ONNX Runtime in Node.js, and passes the experts that it selects directly to getDispatchLayout.
import { fileURLToPath } from 'node:url';
import { getDispatchLayout } from 'dispatch-layout';
import { InferenceSession, Tensor } from 'onnxruntime-node';

const session = await InferenceSession.create(fileURLToPath(new URL('router.onnx', import.meta.url)));

// The hidden states of 6 tokens, with 64 features each
const hidden = new Tensor(
  'float32',
  Float32Array.from({ length: 6 * 64 }, (_, i) => Math.sin(i * i)),
  [6, 64],
);
const { experts } = await session.run({ hidden });

// `experts` is an int64 tensor [6, 4], which needs neither a conversion nor a copy
const layout = getDispatchLayout(experts, 32, { numRanks: 8, numRanksPerNode: 4 });

console.log('experts selected ', experts.type, experts.data.join(' '));
console.log('tokens per rank  ', layout.numTokensPerRank.join(' '));
console.log('tokens per node  ', layout.numTokensPerRdmaRank.join(' '));
console.log('tokens per expert', layout.numTokensPerExpert.join(' '));
console.log('token goes to rank', layout.isTokenInRank.join(' '));
