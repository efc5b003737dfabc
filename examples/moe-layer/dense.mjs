// The dense computation, which the layer must equal: every expert runs on every token, in double precision, and counts
// by its gate, which is 0 if the token has not selected it. There are no rows, so nothing can be in the wrong one.

/** How much the layer may differ from it. Rounding to float32 gives differences of less than 1e-6. */
export const tolerance = 1e-5;

/** The output of the layer, for the gates and experts that the router has selected. */
export function denseLayer(hidden, weights, gates, experts) {
  const [numTokens, width] = hidden.dims;
  const numTopk = experts.dims[1];
  const output = new Float64Array(numTokens * width);
  for (let token = 0; token < numTokens; token++) {
    const input = hidden.data.subarray(token * width, (token + 1) * width);
    for (const [index, { up, down }] of weights.experts.entries()) {
      let gate = 0;
      for (let selection = token * numTopk; selection < (token + 1) * numTopk; selection++) {
        if (experts.data[selection] === BigInt(index)) gate += gates.data[selection];
      }
      const active = product(input, up).map((x) => Math.max(x, 0));
      for (const [i, result] of product(active, down).entries()) output[token * width + i] += gate * result;
    }
  }
  return output;
}

/** A vector times a matrix, which is a tensor. */
function product(vector, { data, dims: [, width] }) {
  return Float64Array.from({ length: width }, (_, column) =>
    vector.reduce((sum, x, row) => sum + x * data[row * width + column], 0),
  );
}

/** The largest difference between an output of the layer and that of the dense computation. */
export function largestDifference(output, dense) {
  return output.data.reduce((largest, x, i) => Math.max(largest, Math.abs(x - dense[i])), 0);
}
