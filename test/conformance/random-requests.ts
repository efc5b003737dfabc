/**
 * Random requests of every kind, for the properties that fast-check checks.
 *
 * @module
 */
import fc from 'fast-check';
import { Random } from '../support/random.ts';
import { type IdType, idArray, idRange, idTypeNames, type TopkStorage } from '../support/topk-storage.ts';
import { setting } from './loader.ts';
import { type Answer, answer, rowsOf } from './oracle.ts';

/** How often a property is checked. `DISPATCH_LAYOUT_TEST_RUNS` multiplies it. */
export const runs = (count: number) => ({
  numRuns: Math.ceil(count * Number(setting('DISPATCH_LAYOUT_TEST_RUNS') ?? 1)),
});

/**
 * Invalid ids on which truncation, sign extension, saturation and table bounds would go wrong. Those that do not fit
 * the type are left out.
 */
function hostileIds(type: IdType, numExperts: number): bigint[] {
  const experts = BigInt(numExperts);
  const [smallest, largest] = idRange[type];
  return [
    experts,
    experts + 1n,
    -2n,
    -3n,
    127n,
    128n,
    -128n,
    254n,
    255n,
    256n,
    32767n,
    32768n,
    -32768n,
    65534n,
    65535n,
    65536n,
    4085n,
    4086n,
    4087n,
    4095n,
    4096n,
    4097n,
    2n ** 31n - 1n,
    2n ** 31n,
    -(2n ** 31n),
    -(2n ** 31n) - 1n,
    2n ** 32n - 2n,
    2n ** 32n - 1n,
    2n ** 32n,
    2n ** 32n + 5n,
    -(2n ** 32n),
    -(2n ** 32n) + 1n,
    -(2n ** 32n) - 1n,
    2n ** 16n + 3n,
    2n ** 48n + 5n,
    2n ** 63n - 1n,
    2n ** 63n,
    -(2n ** 63n),
    2n ** 64n - 1n,
    2n ** 64n - 2n,
    2n ** 32n + experts - 1n,
    2n ** 40n - 1n,
  ].filter((id) => id >= smallest && id <= largest && id !== -1n && (id < 0n || id >= experts));
}

/** Stride patterns, as functions of the shape. */
const stridePatterns = {
  none: () => null,
  contiguous: (_numTokens: number, numTopk: number) => [numTopk, 1],
  padded: (_numTokens: number, numTopk: number) => [numTopk + 3, 1],
  fortran: (numTokens: number) => [1, numTokens],
  'fortran padded': (numTokens: number) => [1, numTokens + 2],
  'rows backwards': (_numTokens: number, numTopk: number) => [-numTopk, 1],
  'slots backwards': (_numTokens: number, numTopk: number) => [numTopk, -1],
  'all backwards': (_numTokens: number, numTopk: number) => [-numTopk - 1, -1],
  'fortran backwards': (numTokens: number) => [-1, -numTokens],
  'every second': (_numTokens: number, numTopk: number) => [2 * numTopk, 2],
  'one row': () => [0, 1],
  'one column': () => [1, 0],
  'one element': () => [0, 0],
  overlapping: () => [1, 1],
  crossing: () => [2, -3],
} satisfies Record<string, (numTokens: number, numTopk: number) => readonly number[] | null>;

/** The shares of -1 and of hostile ids among the ids of a request. */
interface IdShares {
  readonly empty: number;
  readonly hostile: number;
}

/** The parameters of a random request, which fast-check shrinks. */
export interface Case {
  readonly seed: number;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly type: IdType;
  readonly pattern: keyof typeof stridePatterns;
  readonly leading: number;
  readonly trailing: number;
  readonly numRanks: number;
  readonly nodes: number | 'one';
  readonly experts:
    | { readonly perRank: number }
    | { readonly uneven: number; readonly placement?: 'linear' | 'round_robin' | undefined }
    | { readonly placed: number };
  /** Which id stands for an empty slot beside -1. */
  readonly emptyId: 'none' | 'the number of experts' | 'an expert' | 'a hostile one' | 'one that no type holds';
  readonly shares: IdShares;
  readonly invalidExperts: 'throw' | 'ignore';
  readonly mask: 'bytes' | 'bits';
}

export const caseArbitrary: fc.Arbitrary<Case> = fc.record({
  seed: fc.noShrink(fc.nat(2 ** 31 - 1)),
  numTokens: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 400 })),
  numTopk: fc.oneof(fc.integer({ min: 0, max: 10 }), fc.integer({ min: 0, max: 70 })),
  type: fc.constantFrom(...idTypeNames, 'int64' as const, 'int64' as const, 'int32' as const),
  pattern: fc.constantFrom(
    ...(Object.keys(stridePatterns) as (keyof typeof stridePatterns)[]),
    'none' as const,
    'none' as const,
  ),
  leading: fc.integer({ min: 0, max: 5 }),
  trailing: fc.integer({ min: 0, max: 3 }),
  numRanks: fc.oneof(
    fc.integer({ min: 1, max: 20 }),
    fc.integer({ min: 1, max: 140 }),
    fc.constantFrom(8, 16, 32, 64, 72, 256, 512, 520),
  ),
  nodes: fc.constantFrom<number | 'one'>('one', 1, 2, 3, 4, 8),
  experts: fc.oneof(
    fc.record({ perRank: fc.integer({ min: 1, max: 9 }) }),
    fc.record({
      uneven: fc.oneof(fc.integer({ min: 1, max: 600 }), fc.integer({ min: 4070, max: 4110 })),
      placement: fc.constantFrom(undefined, 'linear' as const, 'round_robin' as const),
    }),
    fc.record({
      placed: fc.oneof(
        fc.integer({ min: 1, max: 600 }),
        fc.integer({ min: 4070, max: 4110 }),
        fc.constantFrom(9000, 66000),
      ),
    }),
  ),
  emptyId: fc.constantFrom(
    'none',
    'none',
    'the number of experts',
    'an expert',
    'a hostile one',
    'one that no type holds',
  ),
  shares: fc.constantFrom<IdShares>(
    { empty: 0, hostile: 0 },
    { empty: 0.2, hostile: 0 },
    { empty: 0.6, hostile: 0 },
    { empty: 1, hostile: 0 },
    { empty: 0.1, hostile: 0.002 },
    { empty: 0, hostile: 0.05 },
    { empty: 0.2, hostile: 0.5 },
  ),
  invalidExperts: fc.constantFrom('throw', 'ignore'),
  mask: fc.constantFrom('bytes', 'bits'),
});

/** The request that a case stands for, and its answer. */
export interface RandomRequest {
  readonly topkIdx: TopkStorage;
  readonly numExperts: number;
  readonly group: {
    readonly numRanks: number;
    readonly numRanksPerNode: number;
    readonly placement?: Int32Array | 'linear' | 'round_robin' | undefined;
  };
  readonly options: {
    readonly invalidExperts: 'throw' | 'ignore';
    readonly emptyId?: number | bigint | undefined;
    readonly mask: 'bytes' | 'bits';
  };
  /** The ids as exact integers. */
  readonly rows: readonly (readonly bigint[])[];
  /** The layout, or the error. */
  readonly expected: Answer;
}

/** Makes the request of a case. */
export function requestOf(parameters: Case): RandomRequest {
  const { seed, numTokens, numTopk, type, pattern, leading, trailing, numRanks, nodes, experts, shares } = parameters;
  const random = new Random(seed);
  const numExperts =
    'perRank' in experts ? experts.perRank * numRanks : 'placed' in experts ? experts.placed : experts.uneven;

  // The data cover the view exactly, apart from a few elements before and after it.
  const strides = stridePatterns[pattern](numTokens, numTopk);
  const [tokenReach, slotReach] =
    strides === null || numTokens * numTopk === 0 ? [0, 0] : [(numTokens - 1) * strides[0], (numTopk - 1) * strides[1]];
  const lowest = Math.min(tokenReach, 0) + Math.min(slotReach, 0);
  const highest = Math.max(tokenReach, 0) + Math.max(slotReach, 0);
  const length = strides === null ? numTokens * numTopk : leading + highest - lowest + 1 + trailing;

  const [smallest, largest] = idRange[type];
  const bound = Math.min(numExperts, Number(largest) + 1);
  const hostile = hostileIds(type, numExperts);
  const popular = random.below(bound);
  const emptyIds = {
    none: undefined,
    'the number of experts': numExperts,
    'an expert': popular,
    'a hostile one': hostile.length > 0 ? random.pick(hostile) : undefined,
    'one that no type holds': 2n ** 64n + BigInt(popular),
  };
  const exact = emptyIds[parameters.emptyId];
  // The id is a number where that is exact, but now and then a bigint nevertheless
  const emptyId =
    typeof exact === 'bigint' && Number.isSafeInteger(Number(exact)) && seed % 2 === 0 ? Number(exact) : exact;
  const emptySlots = emptyId !== undefined && emptyId >= smallest && emptyId <= largest ? 0.1 : 0;
  const ids = Array.from({ length }, () => {
    if (emptyId !== undefined && random.chance(emptySlots)) return emptyId;
    if (hostile.length > 0 && random.chance(shares.hostile)) return random.pick(hostile);
    if (smallest < 0n && random.chance(shares.empty)) return -1;
    return random.chance(0.2) ? popular : random.below(bound);
  });
  const topkIdx: TopkStorage = {
    data: idArray(type, ids),
    shape: [numTokens, numTopk],
    ...(strides && { strides: [strides[0], strides[1]] as const, offset: leading - lowest }),
  };

  const group = {
    numRanks,
    numRanksPerNode: nodes === 'one' || numRanks % nodes !== 0 ? numRanks + (seed % 3) : nodes,
    ...('uneven' in experts && { placement: experts.placement }),
    ...('placed' in experts && {
      placement: Int32Array.from({ length: numExperts }, () => (random.chance(0.02) ? -1 : random.below(numRanks))),
    }),
  };
  const options = { invalidExperts: parameters.invalidExperts, emptyId, mask: parameters.mask };
  const rows = rowsOf(topkIdx);
  const expected = answer({ ...group, ...options, rows, numExperts });
  return { topkIdx, numExperts, group, options, rows, expected };
}
