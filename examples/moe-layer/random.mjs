// Hidden states and weights from a small generator with a seed: they stand for those of your model.
import { Tensor } from 'onnxruntime-node';

/** The generator mulberry32: each call gives the next number in [0, 1). */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a layer computes with: hidden states in [-1, 1), and weights that keep results of about this size. */
export function randomLayer({ numTokens, hiddenSize, innerSize, numExperts, seed }) {
  const random = generator(seed);
  const matrix = (height, width, scale) =>
    new Tensor(
      'float32',
      Float32Array.from({ length: height * width }, () => (2 * random() - 1) * scale),
      [height, width],
    );
  const weightsOf = (height, width) => matrix(height, width, Math.sqrt(3 / height));
  return {
    hidden: matrix(numTokens, hiddenSize, 1),
    weights: {
      router: weightsOf(hiddenSize, numExperts),
      experts: Array.from({ length: numExperts }, () => ({
        up: weightsOf(hiddenSize, innerSize),
        down: weightsOf(innerSize, hiddenSize),
      })),
    },
  };
}
