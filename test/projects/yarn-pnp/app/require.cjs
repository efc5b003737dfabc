const assert = require('node:assert');
const { getDispatchLayout } = require('dispatch-layout');
const { DeviceTensor } = require('dispatch-layout/cuda');

// The library must come from Yarn's cache, not from a node_modules.
assert.match(require.resolve('dispatch-layout'), /\/app\/\.yarn\//);

const { device, numTokensPerRank } = getDispatchLayout([[0, 5], [6, -1]], 8, { numRanks: 4 });
assert.strictEqual(device, 'wasm');
assert.deepStrictEqual([...numTokensPerRank], [1, 0, 1, 1]);
assert.strictEqual(typeof DeviceTensor.empty, 'function');
