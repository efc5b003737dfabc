// An MoE layer: the router selects experts, and each expert computes all of its rows in one run.
import { getExpertPermutation } from 'dispatch-layout';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expertModel, routerModel } from './models.mjs';

const router = await InferenceSession.create(routerModel);
const expert = await InferenceSession.create(expertModel);

/**
 * The layer, on float32 tensors: `hidden` is `[numTokens, hiddenSize]`, and so is the output; `weights.router` is
 * `[hiddenSize, numExperts]`, and `weights.experts` has `up` and `down` of each expert. The rows of each expert are
 * padded to a multiple of `alignment`.
 */
export async function moeLayer(hidden, weights, numTopk, alignment = 1) {
  const { gates, experts } = await route(hidden, weights.router, numTopk);

  // `experts` is an int64 tensor [numTokens, numTopk], which needs neither a conversion nor a copy
  const order = getExpertPermutation(experts, weights.experts.length, { alignment });

  const rows = gather(hidden, order);
  const results = await runExperts(rows, weights.experts, order);
  return { output: combine(results, order, gates), gates, experts, order };
}

/** Selects the experts of each token. Their gates say how much each of them counts. */
export async function route(hidden, weights, numTopk) {
  // ONNX Runtime 1.30 crashes in TopK without any token
  if (hidden.dims[0] === 0) {
    const dims = [0, numTopk];
    return { gates: new Tensor('float32', [], dims), experts: new Tensor('int64', [], dims) };
  }
  return router.run({ hidden, weights, num_topk: new Tensor('int64', [BigInt(numTopk)], [1]) });
}

/**
 * Copies to each row of an order what its token has, such as its hidden state. Rows of padding stay zero. The order is
 * one by expert, which names the selection of each row, or one by rank, which names the token.
 */
export function gather({ type, data, dims: [, width] }, order) {
  const rows = new data.constructor(order.numRows * width);
  for (let row = 0; row < order.numRows; row++) {
    const token = order.tokenOfRow?.[row] ?? Math.floor(order.selectionOfRow[row] / order.numTopk);
    if (token === -1) continue;
    rows.set(data.subarray(token * width, (token + 1) * width), row * width);
  }
  return new Tensor(type, rows, [order.numRows, width]);
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

/**
 * Adds up the results of each token's selections, by their gates; without gates, each result counts once. A selection
 * without a row adds nothing.
 */
export function combine(results, order, gates) {
  const width = results.dims[1];
  const output = new Float32Array(order.numTokens * width);
  for (const [selection, row] of order.rowOfSelection.entries()) {
    if (row === -1) continue;
    const token = Math.floor(selection / order.numTopk);
    const gate = gates?.data[selection] ?? 1;
    for (let i = 0; i < width; i++) output[token * width + i] += gate * results.data[row * width + i];
  }
  return new Tensor('float32', output, [order.numTokens, width]);
}
