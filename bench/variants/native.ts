/**
 * The kernel's source compiled for this machine, over int64 ids in native memory, with all outputs there.
 *
 * @module
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { newOrder, type OrderArrays, type OrderKind } from './order.ts';
import { newArrays, numRanksPerNode, type Prepared, type Problem, type Variant } from './variant.ts';

interface Addon {
  /** Takes the place of what was prepared before. */
  prepare(ids: BigInt64Array, numTopk: number, numExperts: number, numRanks: number, numRanksPerNode: number): void;
  /** Makes room for an order of what was prepared. */
  prepareOrder(isByExpert: boolean): void;
  runLayout(times: number): void;
  runOrder(times: number): void;
  copyLayout(
    numTokensPerRank: Int32Array,
    numTokensPerRdmaRank: Int32Array,
    numTokensPerExpert: Int32Array,
    isTokenInRank: Uint8Array,
  ): void;
  copyOrder(...arrays: OrderArrays): void;
}

const path = fileURLToPath(new URL('../../build/bench/native.node', import.meta.url));

/** Whether build.sh could build it here. */
export const isNativeBuilt = existsSync(path);

/** With so many ids, the 50 ns that a call from JavaScript takes do not show in what is measured. */
const minIdsPerRun = 16384;

function prepare({ configuration, int64 }: Problem): { readonly addon: Addon; readonly resultsPerRun: number } {
  const { numTopk, numExperts, numRanks } = configuration;
  const addon = createRequire(import.meta.url)(path) as Addon;
  addon.prepare(int64, numTopk, numExperts, numRanks, numRanksPerNode);
  return { addon, resultsPerRun: Math.ceil(minIdsPerRun / int64.length) };
}

/** Computes layouts, ready for one problem; only the last one that was prepared can run. */
export function native(problem: Problem): Prepared {
  const { addon, resultsPerRun } = prepare(problem);
  const layout = newArrays(problem.configuration);
  return {
    run: () => addon.runLayout(resultsPerRun),
    resultsPerRun,
    result() {
      const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = layout;
      addon.copyLayout(numTokensPerRank, numTokensPerRdmaRank ?? new Int32Array(), numTokensPerExpert, isTokenInRank);
      return layout;
    },
  };
}

/** Computes orders of rows; only the last one that was prepared can run. */
export function nativeOrder(kind: OrderKind): Variant<OrderArrays> {
  return (problem) => {
    const { addon, resultsPerRun } = prepare(problem);
    addon.prepareOrder(kind === 'byExpert');
    const order = newOrder(kind, problem.configuration);
    return {
      run: () => addon.runOrder(resultsPerRun),
      resultsPerRun,
      result() {
        addon.copyOrder(...order);
        return order;
      },
    };
  };
}
