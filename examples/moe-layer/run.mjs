// Runs the layer, and compares its output with that of the dense computation. It fails if they differ.
import { denseLayer, largestDifference, tolerance } from './dense.mjs';
import { moeLayer } from './moe-layer.mjs';
import { randomLayer } from './random.mjs';

const numTopk = 2;
const alignment = 4;

const { hidden, weights } = randomLayer({ numTokens: 12, hiddenSize: 64, innerSize: 128, numExperts: 16, seed: 1 });
const { output, gates, experts, order } = await moeLayer(hidden, weights, numTopk, alignment);
const difference = largestDifference(output, denseLayer(hidden, weights, gates, experts));

console.log(`tokens             ${order.numTokens}, each to ${numTopk} of ${order.numExperts} experts`);
console.log(`tokens per expert  ${order.numTokensPerExpert.join(' ')}`);
console.log(`rows               ${order.numRows}, in blocks of ${alignment}`);
console.log(`largest difference ${difference.toExponential(1)}, from the dense computation`);
// Written in this way, it fails also if the difference is NaN
if (!(difference < tolerance)) {
  console.error(`The difference must be less than ${tolerance}.`);
  process.exitCode = 1;
}
