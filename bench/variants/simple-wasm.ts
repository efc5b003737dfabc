/**
 * The simple kernel of `simple_kernel.c`, over int64 ids in WASM memory and with all outputs there.
 *
 * @module
 */
import { numRanksPerNode, type Prepared, type Problem } from './variant.ts';
import { WasmMemory } from './wasm-memory.ts';

/** Ready for one problem. */
export function simpleWasm({ configuration, int64 }: Problem): Prepared {
  const { numTokens, numTopk, numExperts, numRanks } = configuration;
  const numNodes = numRanks > numRanksPerNode ? numRanks / numRanksPerNode : 0;
  const wasm = new WasmMemory(new URL('../../build/bench/simple_kernel.wasm', import.meta.url));
  const ids = wasm.take(8 * int64.length);
  const rankOfExpert = wasm.take(4 * numExperts);
  const perRank = wasm.take(4 * numRanks);
  const perRdmaRank = wasm.take(4 * numNodes);
  const perExpert = wasm.take(4 * numExperts);
  const lastTokenOfNode = wasm.take(4 * numNodes);
  const isTokenInRank = wasm.take(numTokens * numRanks);
  const request = wasm.take(4 * 12);

  const { buffer } = wasm;
  new BigInt64Array(buffer, ids).set(int64);
  const numExpertsPerRank = numExperts / numRanks;
  new Int32Array(buffer, rankOfExpert).set(
    Int32Array.from({ length: numExperts }, (_, expert) => Math.floor(expert / numExpertsPerRank)),
  );
  new Uint32Array(buffer, request).set([
    ids,
    numTokens,
    numTopk,
    numExperts,
    numRanks,
    numRanksPerNode,
    rankOfExpert,
    perRank,
    numNodes === 0 ? 0 : perRdmaRank,
    perExpert,
    lastTokenOfNode,
    isTokenInRank,
  ]);
  const layout = {
    numTokensPerRank: new Int32Array(buffer, perRank, numRanks),
    numTokensPerRdmaRank: numNodes === 0 ? null : new Int32Array(buffer, perRdmaRank, numNodes),
    numTokensPerExpert: new Int32Array(buffer, perExpert, numExperts),
    isTokenInRank: new Uint8Array(buffer, isTokenInRank, numTokens * numRanks),
  };
  const run = wasm.exports.layout;
  return { run: () => void run(request), result: () => layout };
}
