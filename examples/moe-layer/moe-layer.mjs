// An MoE layer: the router selects experts, and each expert computes all of its rows in one run.
import { getExpertPermutation } from 'dispatch-layout';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expertModel, routerModel } from './models.mjs';

const router = await InferenceSession.create(routerModel);
const expert = await InferenceSession.create(expertModel);

/**
 * The layer, on float32 tensors: `hidden` is `[numTokens, hiddenSize]`, and so is the output; `weights.router` is
 * `[hiddenSize, numExperts]`, and `weights.experts` has `up` and `down` of each expert. The rows of each expert are
 * padded to a multiple of `alignment`. There must be a token: ONNX Runtime 1.30 crashes in TopK without any.
 */
export async function moeLayer(hidden, weights, numTopk, alignment = 1) {
  const { gates, experts } = await route(hidden, weights.router, numTopk);

  // `experts` is an int64 tensor [numTokens, numTopk], which needs neither a conversion nor a copy
  const order = getExpertPermutation(experts, weights.experts.length, { alignment });

  const rows = gather(hidden, order);
  const results = await runExperts(rows, weights.experts, order);
  return { output: combine(results, gates, order), gates, experts, order };
}

/** Selects the experts of each token. Their gates say how much each of them counts. */
export function route(hidden, weights, numTopk) {
  return router.run({ hidden, weights, num_topk: new Tensor('int64', [BigInt(numTopk)], [1]) });
}

/** Copies the hidden state of each selection to its row. Rows of padding stay zero. */
export function gather(hidden, order) {
  const width = hidden.dims[1];
  const rows = new Float32Array(order.numRows * width);
  for (let row = 0; row < order.numRows; row++) {
    const selection = order.selectionOfRow[row];
    if (selection === -1) continue;
    const token = Math.floor(selection / order.numTopk);
    rows.set(hidden.data.subarray(token * width, (token + 1) * width), row * width);
  }
  return new Tensor('float32', rows, [order.numRows, width]);
}

/** Runs each expert once, on its contiguous rows. An expert without rows does not run. */
export async function runExperts(rows, experts, order) {
  const width = rows.dims[1];
  const results = new Float32Array(rows.data.length);
  for (const [index, { up, down }] of experts.entries()) {
    const begin = order.expertOffsets[index];
    const end = order.expertOffsets[index + 1];
    if (begin === end) continue;
    const own = new Tensor('float32', rows.data.subarray(begin * width, end * width), [end - begin, width]);
    const ran = await expert.run({ rows: own, up, down });
    results.set(ran.results.data, begin * width);
  }
  return new Tensor('float32', results, rows.dims);
}

/** Adds up the results of each token's selections, by their gates. A slot without an expert has no row. */
export function combine(results, gates, order) {
  const width = results.dims[1];
  const output = new Float32Array(order.numTokens * width);
  for (const [selection, row] of order.rowOfSelection.entries()) {
    if (row === -1) continue;
    const token = Math.floor(selection / order.numTopk);
    for (let i = 0; i < width; i++) {
      output[token * width + i] += gates.data[selection] * results.data[row * width + i];
    }
  }
  return new Tensor('float32', output, [order.numTokens, width]);
}
