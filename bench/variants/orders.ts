/**
 * The ways to compute orders of rows that are compared, by their names in tables. To add one, add a line here.
 *
 * @module
 */
import { orderInMemory } from './kernel-in-memory.ts';
import { publicOrder, workspaceOrder } from './library.ts';
import { names } from './names.ts';
import { isNativeBuilt, nativeOrder } from './native.ts';
import { newOrder, type OrderArrays, type OrderKind } from './order.ts';
import { plainExpertOrder, plainRankOrder } from './plain-orders.ts';
import type { Variant } from './variant.ts';

function plainOrder(kind: OrderKind): Variant<OrderArrays> {
  return ({ configuration, int32 }) => {
    const { numTopk, numExperts, numRanks } = configuration;
    const out = newOrder(kind, configuration);
    const run =
      kind === 'byExpert'
        ? () => plainExpertOrder(int32, numExperts, out)
        : () => plainRankOrder(int32, numTopk, numExperts, numRanks, out);
    return { run, result: () => out };
  };
}

interface Entry {
  readonly variant: (kind: OrderKind) => Variant<OrderArrays>;
  /** What it is, for the legend of the tables. */
  readonly description: string;
}

/** The table of variants. */
export const orderVariants: Readonly<Record<string, Entry>> = {
  [names.plainOnly]: {
    variant: plainOrder,
    description:
      'a plain loop over an Int32Array that counts, and a second one that places; V8 has seen it called with an ' +
      'Int32Array only',
  },
  [names.kernel]: {
    variant: orderInMemory,
    description: "this library's kernel, called without the library: it locates, counts and places ids",
  },
  [names.workspace]: { variant: workspaceOrder, description: 'a workspace of this library, whole call' },
  [names.call]: {
    variant: (kind) => publicOrder(kind, 'int64', 'reused'),
    description: "this library's `wasm` device, whole call with its copies in and out, int64, reused `out`",
  },
  'wasm, int32': {
    variant: (kind) => publicOrder(kind, 'int32', 'reused'),
    description: 'the same as `wasm`, with int32 ids',
  },
  [names.newArrays]: {
    variant: (kind) => publicOrder(kind, 'int64', 'new'),
    description: 'the same as `wasm`, but with new result arrays for every call',
  },
  ...(isNativeBuilt && {
    [names.native]: {
      variant: nativeOrder,
      description: "the kernel's source compiled for this machine, as for layouts",
    },
  }),
};
