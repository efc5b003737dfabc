// The two ONNX models of the layer. The weights are inputs, so that one model serves all experts.
import protobuf from 'protobufjs';
import { encodeModel, float32, int64, operation, value } from '../onnx-model.mjs';

/** The router: gates, experts = TopK(softmax(hidden x weights)). */
export const routerModel = encodeModel(protobuf, {
  name: 'router',
  input: [
    value('hidden', float32, ['num_tokens', 'hidden_size']),
    value('weights', float32, ['hidden_size', 'num_experts']),
    value('num_topk', int64, [1]),
  ],
  output: [
    value('gates', float32, ['num_tokens', 'num_topk']), // the probabilities of the experts that are selected
    value('experts', int64, ['num_tokens', 'num_topk']),
  ],
  node: [
    operation('MatMul', ['hidden', 'weights'], ['logits']),
    operation('Softmax', ['logits'], ['probabilities'], { axis: -1 }),
    operation('TopK', ['probabilities', 'num_topk'], ['gates', 'experts'], { axis: -1 }),
  ],
});

/** One expert: results = relu(rows x up) x down. */
export const expertModel = encodeModel(protobuf, {
  name: 'expert',
  input: [
    value('rows', float32, ['num_rows', 'hidden_size']),
    value('up', float32, ['hidden_size', 'inner_size']),
    value('down', float32, ['inner_size', 'hidden_size']),
  ],
  output: [value('results', float32, ['num_rows', 'hidden_size'])],
  node: [
    operation('MatMul', ['rows', 'up'], ['raised']),
    operation('Relu', ['raised'], ['active']),
    operation('MatMul', ['active', 'down'], ['results']),
  ],
});
