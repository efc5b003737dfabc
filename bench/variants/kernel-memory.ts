/**
 * An instance of the library's kernel for one problem: int64 ids in its memory, and the buffers and the `Plan` that
 * `wasm/dispatch_layout.h` asks for.
 *
 * @module
 */
import { numRanksPerNode, type Problem } from './variant.ts';
import { WasmMemory } from './wasm-memory.ts';

/** Constants of the contract. */
export const slackBytes = 64;
const maxSmallTableExperts = 4088;
const numEmptyEntries = 8;
const noRank = -1;

/** What `locate` is told of the ids. */
export const int64 = 0;
export const hasEmptyId = 0;

/** The instance, and the addresses of its buffers. */
export interface KernelMemory {
  readonly wasm: WasmMemory;
  readonly numNodes: number;
  readonly ids: number;
  readonly perRank: number;
  readonly perRdmaRank: number;
  readonly perExpert: number;
  /** Writes the ids, the plan and the tables. All other buffers must have been taken before. */
  build(): void;
}

/** Places the buffers. `locatedIds` is how many ids can be located before they are counted or ordered. */
export function kernelMemory({ configuration, int64: values }: Problem, locatedIds: number): KernelMemory {
  const { numExperts, numRanks } = configuration;
  const numNodes = Math.max(1, numRanks / numRanksPerNode);
  const wasm = new WasmMemory(new URL('../../dist/kernel.wasm', import.meta.url));
  const rankOfExpert = wasm.take(4 * (numExperts + numEmptyEntries));
  const largeTable = wasm.take(numExperts > maxSmallTableExperts ? 16 * (numExperts + numEmptyEntries) : 0);
  const perRank = wasm.take(4 * (numRanks + 63));
  const perRdmaRank = wasm.take(4 * (numNodes + 63));
  const perExpert = wasm.take(4 * (numExperts + numEmptyEntries));
  const lastTokenOfNode = wasm.take(4 * (numNodes + 1));
  const positions = wasm.take(4 * (locatedIds + 8));
  // There is a cell in front of those of the ranks
  const rankCells = wasm.take(8 * (numRanks + 1)) + 8;
  const ids = wasm.take(8 * values.length + slackBytes);
  return {
    wasm,
    numNodes,
    ids,
    perRank,
    perRdmaRank,
    perExpert,
    build() {
      const { exports, buffer } = wasm;
      new BigInt64Array(buffer, ids).set(values);
      const numExpertsPerRank = numExperts / numRanks;
      const ranks = new Int32Array(buffer, rankOfExpert, numExperts + numEmptyEntries).fill(noRank);
      for (let expert = 0; expert < numExperts; expert++) ranks[expert] = Math.floor(expert / numExpertsPerRank);
      new Uint32Array(buffer, exports.plan()).set([
        numExperts,
        numRanks,
        numRanksPerNode,
        numNodes,
        0, // Rows of the mask are of bytes
        rankOfExpert,
        largeTable,
        perRank,
        perRdmaRank,
        perExpert,
        lastTokenOfNode,
        positions,
        rankCells,
      ]);
      exports.build_table();
    },
  };
}
