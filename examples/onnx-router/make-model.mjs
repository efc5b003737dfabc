// Makes router.onnx, the router of an MoE layer: probabilities = softmax(hidden x weights), and TopK gives scores and
// experts.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

const hiddenSize = 64;
const numExperts = 32;
const numTopk = 4;

const float32 = 1;
const int64 = 7;
const integer = { type: 2 };

/** A reproducible weight in [-1, 1): a multiplicative hash of its place. */
const weight = (place) => (Math.imul(place + 1, 0x9e3779b1) | 0) / 2 ** 31;
const weights = Float32Array.from({ length: hiddenSize * numExperts }, (_, place) => weight(place));

const tensor = (name, data_type, dims, data) => ({ name, data_type, dims, raw_data: new Uint8Array(data.buffer) });
const value = (name, elem_type, width) => ({
  name,
  type: { tensor_type: { elem_type, shape: { dim: [{ dim_param: 'num_tokens' }, { dim_value: width }] } } },
});
const axis = { name: 'axis', i: -1, ...integer };

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const schema = await new protobuf.Root().load(here('onnx.proto'), { keepCase: true });
const Model = schema.lookupType('onnx.ModelProto');
const model = Model.fromObject({
  ir_version: 8,
  producer_name: 'dispatch-layout',
  opset_import: [{ domain: '', version: 13 }],
  graph: {
    name: 'router',
    input: [value('hidden', float32, hiddenSize)],
    output: [value('scores', float32, numTopk), value('experts', int64, numTopk)],
    initializer: [
      tensor('weights', float32, [hiddenSize, numExperts], weights),
      tensor('k', int64, [1], BigInt64Array.of(BigInt(numTopk))),
    ],
    node: [
      { op_type: 'MatMul', input: ['hidden', 'weights'], output: ['logits'] },
      { op_type: 'Softmax', input: ['logits'], output: ['probabilities'], attribute: [axis] },
      { op_type: 'TopK', input: ['probabilities', 'k'], output: ['scores', 'experts'], attribute: [axis] },
    ],
  },
});
const bytes = Model.encode(model).finish();
writeFileSync(here('router.onnx'), bytes);
console.log(`router.onnx, ${bytes.length} bytes: ${hiddenSize} features, top-${numTopk} of ${numExperts} experts`);
