/**
 * Everything that is compared, by its name in tables and plots. To add a way to compute layouts, add a line here.
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
 * Two instances of the module are two functions to V8: one that has seen ids of both types, as in a library that takes
 * either, and one that only ever sees int32.
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
      result: () => out,
    };
  };
}

interface Entry {
  readonly variant: Variant;
  /** What it is, for the legend of the table. */
  readonly description: string;
}

/** The table of variants. */
export const variants: Readonly<Record<string, Entry>> = {
  'plain JS, int64': {
    variant: plainJs(ofAnyType, 'int64'),
    description: 'a plain loop in one pass over a BigInt64Array',
  },
  [names.plain]: {
    variant: plainJs(ofAnyType, 'int32'),
    description: 'the same function over an Int32Array; V8 has seen it called with both types, as a library would be',
  },
  [names.plainOnly]: {
    variant: plainJs(ofInt32, 'int32'),
    description: 'the same source, in a function that V8 has seen called with an Int32Array only',
  },
  js: {
    variant: publicCall('js', 'int32', 'reused'),
    description: "this library's `js` device, whole call, int32, reused `out`",
  },
  [names.simple]: {
    variant: simpleWasm,
    description:
      'a plain loop in one pass in C, `emcc -O3 -msimd128`; int64 ids and all outputs are in WASM memory, no copies',
  },
  [names.kernel]: {
    variant: kernelInMemory,
    description:
      "this library's kernel, called without the library; int64 ids and all outputs are in WASM memory, no copies",
  },
  [names.workspace]: {
    variant: workspaceRun,
    description: 'a workspace of this library, whole call; int64 ids and all outputs are in its memory, no copies',
  },
  [names.call]: {
    variant: publicCall('wasm', 'int64', 'reused'),
    description: "this library's `wasm` device, whole call with its copies in and out, int64, reused `out`",
  },
  'wasm, int32': { variant: publicCall('wasm', 'int32', 'reused'), description: 'the same as `wasm`, with int32 ids' },
  [names.newArrays]: {
    variant: publicCall('wasm', 'int64', 'new'),
    description: 'the same as `wasm`, but with new result arrays for every call',
  },
  ...(isNativeBuilt && {
    [names.native]: {
      variant: native,
      description:
        "the kernel's source compiled for this machine, `-O3 -march=native`; int64 ids and all outputs are in memory, no " +
        'copies. One call from JavaScript computes at least 16,384 ids, several small layouts if need be, so that the call ' +
        'itself is no part of the figure',
    },
  }),
};
