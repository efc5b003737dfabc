/**
 * Computes layouts of all kinds on the GPU, and compares them with those of the `js` device. compute-sanitizer watches
 * this.
 */
import { getDispatchLayout } from 'dispatch-layout';
import { DeviceTensor, Stream } from 'dispatch-layout/cuda';

const names = ['numTokensPerRank', 'numTokensPerRdmaRank', 'numTokensPerExpert', 'isTokenInRank'];
const types = [BigInt64Array, Int32Array, Int16Array, Uint8Array];
let state = 1;
const below = (bound) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * bound);
};

let count = 0;
for (const numTokens of [0, 1, 33, 700, 5000]) {
  for (const [numTopk, numExperts, numRanks, numRanksPerNode] of [
    [8, 256, 8, 8],
    [8, 256, 64, 8],
    [3, 96, 12, 4],
    [10, 640, 320, 8],
    [2, 60000, 8, 8],
  ]) {
    const Type = types[below(types.length)];
    const isUnsigned = Type === Uint8Array;
    const bound = Math.min(numExperts, isUnsigned ? 256 : 32000);
    const data = new Type(numTokens * numTopk);
    for (let i = 0; i < data.length; i++) {
      const id = isUnsigned ? below(bound) : below(bound + 1) - 1;
      data[i] = Type === BigInt64Array ? BigInt(id) : id;
    }
    const topkIdx = { data, shape: [numTokens, numTopk] };
    const placement = below(2) === 0 ? undefined : Int32Array.from({ length: numExperts }, () => below(numRanks));
    const emptyId = below(2) === 0 ? undefined : below(bound);
    const mask = ['bytes', 'bits', 'none'][below(3)];
    const options = { numRanks, numRanksPerNode, placement, emptyId, mask, invalidExperts: 'ignore' };
    const expected = getDispatchLayout(topkIdx, numExperts, { ...options, device: 'js' });
    const onHost = getDispatchLayout(topkIdx, numExperts, { ...options, device: 'cuda', invalidExperts: 'throw' });
    const stream = new Stream();
    const onDevice = await stream.run(async () => {
      const tensor = DeviceTensor.from(data, [numTokens, numTopk]);
      const layout = getDispatchLayout(tensor, numExperts, { ...options, device: 'cuda', asyncFinish: true });
      tensor.dispose();
      await layout.event.wait();
      const results = Object.fromEntries(names.map((name) => [name, layout[name]?.toTypedArray() ?? null]));
      layout[Symbol.dispose]();
      return results;
    });
    for (const actual of [onHost, onDevice]) {
      for (const name of names) {
        const isRight =
          expected[name] === null
            ? actual[name] === null
            : expected[name].length === actual[name].length &&
              expected[name].every((value, i) => value === actual[name][i]);
        if (!isRight) throw new Error(`${name} is wrong for ${[numTokens, numTopk, numExperts, numRanks]}`);
      }
      count++;
    }
  }
}
console.log(`${count} layouts are right`);

if (process.argv.includes('--read-beyond')) {
  // compute-sanitizer must find this error: a tensor that claims more memory than there is.
  const [numTokens, numTopk] = [2 ** 16, 8];
  const small = DeviceTensor.empty([16], 'int64', { shareable: true });
  const lying = DeviceTensor.fromPointer(small.pointer, [numTokens, numTopk], 'int64');
  getDispatchLayout(lying, 256, { numRanks: 8, device: 'cuda', invalidExperts: 'ignore' });
  Stream.current.synchronize();
}
