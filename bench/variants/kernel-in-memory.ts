/**
 * The kernel of this library without the library: int64 ids and all outputs are in WASM memory, and nothing is copied.
 * This module calls `kernel.wasm` as the contract, `wasm/dispatch_layout.h`, says.
 *
 * @module
 */
import { maxLocatedIds, numRanksPerNode, type Prepared, type Problem } from './variant.ts';
import { WasmMemory } from './wasm-memory.ts';

/** Constants of the contract. */
const int64 = 0;
const hasCopies = 1;
const hasEmptyId = 0;
const slackBytes = 64;
const maxSmallTableExperts = 4088;
const numEmptyEntries = 8;
const noRank = -1;

/** Ready for one problem. */
export function kernelInMemory(problem: Problem): Prepared {
  const { numTokens, numTopk, numExperts, numRanks } = problem.configuration;
  const numNodes = Math.max(1, numRanks / numRanksPerNode);
  const wasm = new WasmMemory(new URL('../../dist/kernel.wasm', import.meta.url));
  const rankOfExpert = wasm.take(4 * (numExperts + numEmptyEntries));
  const largeTable = wasm.take(numExperts > maxSmallTableExperts ? 16 * (numExperts + numEmptyEntries) : 0);
  const perRank = wasm.take(4 * (numRanks + 63));
  const perRdmaRank = wasm.take(4 * (numNodes + 63));
  const perExpert = wasm.take(4 * (numExperts + numEmptyEntries));
  const lastTokenOfNode = wasm.take(4 * (numNodes + 1));
  const positions = wasm.take(4 * (maxLocatedIds + 8));
  const ids = wasm.take(8 * problem.int64.length + slackBytes);
  const isTokenInRank = wasm.take(numTokens * numRanks + slackBytes);

  const { buffer } = wasm;
  const { plan, build_table, begin, locate, add_tokens, finish } = wasm.exports;
  new BigInt64Array(buffer, ids).set(problem.int64);
  const numExpertsPerRank = numExperts / numRanks;
  const ranks = new Int32Array(buffer, rankOfExpert, numExperts + numEmptyEntries).fill(noRank);
  for (let expert = 0; expert < numExperts; expert++) ranks[expert] = Math.floor(expert / numExpertsPerRank);
  new Uint32Array(buffer, plan()).set([
    numExperts,
    numRanks,
    numRanksPerNode,
    numNodes,
    0, // Rows are of bytes
    rankOfExpert,
    largeTable,
    perRank,
    perRdmaRank,
    perExpert,
    lastTokenOfNode,
    positions,
  ]);
  build_table();

  const step = Math.floor(maxLocatedIds / numTopk);
  const layout = {
    numTokensPerRank: new Int32Array(buffer, perRank, numRanks),
    numTokensPerRdmaRank: numNodes === 1 ? null : new Int32Array(buffer, perRdmaRank, numNodes),
    numTokensPerExpert: new Int32Array(buffer, perExpert, numExperts),
    isTokenInRank: new Uint8Array(buffer, isTokenInRank, numTokens * numRanks),
  };
  return {
    run() {
      begin(numTokens * numTopk, hasCopies);
      for (let token = 0; token < numTokens; token += step) {
        const count = Math.min(step, numTokens - token);
        locate(ids + 8 * token * numTopk, int64, count * numTopk, 0, hasEmptyId, 0, 0);
        add_tokens(0, count, numTopk, token, isTokenInRank + token * numRanks);
      }
      finish();
    },
    layout: () => layout,
  };
}
