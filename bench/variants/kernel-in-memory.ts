/**
 * The kernel of this library without the library: int64 ids and all outputs are in WASM memory, and nothing is copied.
 * This module calls `kernel.wasm` as the contract, `wasm/dispatch_layout.h`, says.
 *
 * @module
 */
import { hasEmptyId, int64, kernelMemory, slackBytes } from './kernel-memory.ts';
import { type OrderArrays, type OrderKind, orderLengths } from './order.ts';
import { maxLocatedIds, type Prepared, type Problem, type Variant } from './variant.ts';

const hasCopies = 1;
const hasNoCopies = 0;
const alignment = 1;

/** Computes layouts, ready for one problem. */
export function kernelInMemory(problem: Problem): Prepared {
  const { numTokens, numTopk, numExperts, numRanks } = problem.configuration;
  const { wasm, numNodes, ids, perRank, perRdmaRank, perExpert, build } = kernelMemory(problem, maxLocatedIds);
  const isTokenInRank = wasm.take(numTokens * numRanks + slackBytes);
  build();

  const { buffer } = wasm;
  const { begin, locate, add_tokens, finish } = wasm.exports;
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
    result: () => layout,
  };
}

/** Computes orders of rows. All ids are located at once, as in a workspace. */
export function orderInMemory(kind: OrderKind): Variant<OrderArrays> {
  return (problem) => {
    const { numTokens, numTopk, numExperts } = problem.configuration;
    const numIds = numTokens * numTopk;
    const { wasm, ids, build } = kernelMemory(problem, numIds);
    const lengths = orderLengths(kind, problem.configuration);
    const numRows = lengths[2];
    const orderRows = wasm.take(4 * lengths.length);
    // What is written to row -1 is in front of the rows
    const addresses = lengths.map((length) => wasm.take(64 + 4 * length) + 64);
    build();

    const { buffer } = wasm;
    new Uint32Array(buffer, orderRows).set(addresses);
    const order = addresses.map((address, i) => new Int32Array(buffer, address, lengths[i]));
    const { begin, locate } = wasm.exports;
    const orderModule = new URL('../../dist/order.wasm', import.meta.url);
    const { count_rows, begin_rows, place_rows, finish_rows } = wasm.alsoIn(orderModule);
    const plan = wasm.exports.plan();
    const code = kind === 'byExpert' ? 0 : 1;
    return {
      run() {
        begin(numIds, hasNoCopies);
        locate(ids, int64, numIds, 0, hasEmptyId, 0, 0);
        count_rows(plan, code, numTokens, numTopk, 0);
        begin_rows(plan, code, orderRows, numRows, 0, numExperts, alignment);
        place_rows(plan, code, orderRows, numTokens, numTopk, 0);
        finish_rows(plan);
      },
      result: () => order,
    };
  };
}
