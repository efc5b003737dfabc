/**
 * The kernel's source compiled for this machine, over int64 ids in native memory, with all outputs there.
 *
 * @module
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { newArrays, numRanksPerNode, type Prepared, type Problem } from './variant.ts';

interface Addon {
  /** Takes the place of what was prepared before. */
  prepare(ids: BigInt64Array, numTopk: number, numExperts: number, numRanks: number, numRanksPerNode: number): void;
  run(numLayouts: number): void;
  copyLayout(
    numTokensPerRank: Int32Array,
    numTokensPerRdmaRank: Int32Array,
    numTokensPerExpert: Int32Array,
    isTokenInRank: Uint8Array,
  ): void;
}

const path = fileURLToPath(new URL('../../build/bench/native.node', import.meta.url));

/** Whether build.sh could build it here. */
export const isNativeBuilt = existsSync(path);

/** With so many ids, the 50 ns that a call from JavaScript takes do not show in what is measured. */
const minIdsPerRun = 16384;

/** Ready for one problem; only the last one that was prepared can run. */
export function native({ configuration, int64 }: Problem): Prepared {
  const { numTopk, numExperts, numRanks } = configuration;
  const addon = createRequire(import.meta.url)(path) as Addon;
  addon.prepare(int64, numTopk, numExperts, numRanks, numRanksPerNode);
  const layoutsPerRun = Math.ceil(minIdsPerRun / int64.length);
  const layout = newArrays(configuration);
  return {
    run: () => addon.run(layoutsPerRun),
    layoutsPerRun,
    layout() {
      const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = layout;
      addon.copyLayout(numTokensPerRank, numTokensPerRdmaRank ?? new Int32Array(), numTokensPerExpert, isTokenInRank);
      return layout;
    },
  };
}
