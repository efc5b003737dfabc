/**
 * Everything that is compared, by the names that tables and plots have. A new way to compute layouts joins by a line.
 *
 * @module
 */

import { kernelInMemory } from './kernel-in-memory.ts';
import { publicCall, workspaceRun } from './library.ts';
import { names } from './names.ts';
import { isNativeBuilt, native } from './native.ts';
import type { plainLayout } from './plain-js.ts';
import { simpleWasm } from './simple-wasm.ts';
import { newArrays, numRanksPerNode, type Problem, type Variant } from './variant.ts';

/**
 * Two instances of the module, and so two functions to V8: one that has seen ids of both types, as in a library that
 * takes either, and one that never sees any but int32.
 */
const [ofAnyType, ofInt32] = (await Promise.all(
  ['any', 'int32'].map((instance) => import(`./plain-js.ts?${instance}`)),
)) as readonly { plainLayout: typeof plainLayout }[];

function plainJs(instance: typeof ofAnyType, idType: 'int64' | 'int32'): Variant {
  return ({ configuration, [idType]: ids }: Problem) => {
    const { numTopk, numExperts, numRanks } = configuration;
    const out = newArrays(configuration);
    return {
      run: () => instance.plainLayout(ids, numTopk, numExperts, numRanks, numRanksPerNode, out),
      layout: () => out,
    };
  };
}

interface Entry {
  readonly variant: Variant;
  /** In a sentence, for the legend of the table. */
  readonly description: string;
  readonly maxRanks?: number;
}

/** The table of variants. */
export const variants: Readonly<Record<string, Entry>> = {
  'plain JS, int64': {
    variant: plainJs(ofAnyType, 'int64'),
    description: 'a plain loop in one pass over a BigInt64Array',
  },
  [names.plain]: {
    variant: plainJs(ofAnyType, 'int32'),
    description: 'the same function over an Int32Array: it takes either, as a library would',
  },
  [names.plainOnly]: {
    variant: plainJs(ofInt32, 'int32'),
    description: 'the same source in a function that V8 has never seen called with another type of ids',
  },
  js: { variant: publicCall('js', 'int32', 'reused'), description: "this library's `js` device, whole call, int32" },
  [names.simple]: {
    variant: simpleWasm('layout_by_bytes'),
    description: 'C in one pass, `emcc -O3 -msimd128`, rows written byte by byte; int64 and outputs in WASM memory',
  },
  [names.simpleMask]: {
    variant: simpleWasm('layout_by_mask'),
    description: 'the same, rows gathered as a 64-bit mask and unpacked; up to 64 ranks',
    maxRanks: 64,
  },
  [names.kernel]: {
    variant: kernelInMemory,
    description: "this library's kernel, int64 ids and all outputs in WASM memory, no copies",
  },
  [names.workspace]: {
    variant: workspaceRun,
    description: 'a workspace of this library, whole call, int64 ids and results in its memory, no copies',
  },
  [names.call]: {
    variant: publicCall('wasm', 'int64', 'reused'),
    description: "this library's `wasm` device, whole call with its copies in and out, int64, reused `out`",
  },
  'wasm, int32': { variant: publicCall('wasm', 'int32', 'reused'), description: 'the same with int32 ids' },
  'wasm, new arrays': {
    variant: publicCall('wasm', 'int64', 'new'),
    description: 'the same as `wasm`, new result arrays',
  },
  ...(isNativeBuilt && {
    [names.native]: {
      variant: native,
      description: "the kernel's source compiled for this machine, `-O3 -march=native`, int64 in memory, no copies",
    },
  }),
};
