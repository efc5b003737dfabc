// Makes router.onnx, the router of an MoE layer: probabilities = softmax(hidden x weights), and TopK gives scores and
// experts.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { constant, encodeModel, float32, int64, operation, value } from '../onnx-model.mjs';

const hiddenSize = 64;
const numExperts = 32;
const numTopk = 4;

/** A reproducible weight in [-1, 1): a multiplicative hash of its place. */
const weight = (place) => (Math.imul(place + 1, 0x9e3779b1) | 0) / 2 ** 31;
const weights = Float32Array.from({ length: hiddenSize * numExperts }, (_, place) => weight(place));

const bytes = encodeModel(protobuf, {
  name: 'router',
  input: [value('hidden', float32, ['num_tokens', hiddenSize])],
  output: [value('scores', float32, ['num_tokens', numTopk]), value('experts', int64, ['num_tokens', numTopk])],
  initializer: [
    constant('weights', float32, [hiddenSize, numExperts], weights),
    constant('k', int64, [1], BigInt64Array.of(BigInt(numTopk))),
  ],
  node: [
    operation('MatMul', ['hidden', 'weights'], ['logits']),
    operation('Softmax', ['logits'], ['probabilities'], { axis: -1 }),
    operation('TopK', ['probabilities', 'k'], ['scores', 'experts'], { axis: -1 }),
  ],
});
writeFileSync(fileURLToPath(new URL('router.onnx', import.meta.url)), bytes);
console.log(`router.onnx, ${bytes.length} bytes: ${hiddenSize} features, top-${numTopk} of ${numExperts} experts`);
