/**
 * What is measured: fixed configurations, and the routing that each of them is measured on.
 *
 * @module
 */
import type { Routing } from './routing.ts';

/** One request. */
export interface Configuration {
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly routing: Routing;
}

function uniform(numTokens: number, numTopk: number, numExperts: number, numRanks: number): Configuration {
  return { numTokens, numTopk, numExperts, numRanks, routing: 'uniform' };
}

/**
 * Layers as models have them: decoding, prefill and routing logs; few and many experts and ranks; skewed and padded
 * routing.
 */
export const configurations: readonly Configuration[] = [
  uniform(128, 8, 256, 8),
  uniform(4096, 8, 256, 8),
  uniform(4096, 8, 256, 64),
  uniform(8192, 8, 288, 32),
  uniform(65536, 8, 256, 64),
  uniform(4096, 6, 64, 8),
  uniform(4096, 2, 8, 8),
  uniform(4096, 10, 512, 64),
  uniform(16384, 8, 1024, 256),
  { ...uniform(4096, 8, 256, 64), routing: 'skewed' },
  { ...uniform(4096, 8, 256, 64), routing: 'half empty' },
];

/** From 1 to 10,000,000 tokens, on one node. */
const overTokens = [0, 1, 2, 3, 4, 5, 6, 7].map((exponent) => uniform(10 ** exponent, 8, 256, 8));

/** From 1 to 256 ranks. */
const overRanks = [1, 2, 4, 8, 16, 32, 64, 128, 256].map((numRanks) => uniform(4096, 8, 256, numRanks));

/** From 8 to 65,536 experts. With more than 4088 the kernel uses another table. */
const overExperts = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4088, 4096, 8192, 16384, 32768, 65536].map(
  (numExperts) => uniform(4096, 8, numExperts, 8),
);

/** What is also measured in Python: few and many tokens, on one node and on eight. */
const inPython = [4096, 65536].flatMap((numTokens) => [8, 64].map((numRanks) => uniform(numTokens, 8, 256, numRanks)));

/** What orders by expert are measured on, and layouts beside them: decoding, prefill, few and many experts, a long log. */
const ofExpertOrders = [
  ...[1, 8, 64, 4096, 65536, 2 ** 20].map((numTokens) => uniform(numTokens, 8, 256, 8)),
  uniform(4096, 2, 8, 8),
  uniform(4096, 10, 512, 8),
  uniform(16384, 8, 1024, 8),
];

/** The same on 8 ranks and, as far as there are enough experts, on 64. The long log is on 8 ranks only. */
const ofRankOrders = ofExpertOrders.flatMap((configuration) =>
  configuration.numExperts < 64 || configuration.numTokens > 65536
    ? [configuration]
    : [configuration, { ...configuration, numRanks: 64 }],
);

/** Everything that is measured, by the name of its list in the results. */
export const lists = {
  layouts: configurations,
  overTokens,
  overRanks,
  overExperts,
  inPython,
  byExpert: ofExpertOrders,
  byRank: ofRankOrders,
  byExpertInPython: inPython.filter(({ numRanks }) => numRanks === 8),
  byRankInPython: inPython,
} satisfies Record<string, readonly Configuration[]>;

/** The name of a list. */
export type ListName = keyof typeof lists;

/** The names of all lists. */
export const listNames = Object.keys(lists) as readonly ListName[];

/** The lists of the main tables, whose ratios are checked. */
export const mainLists = ['layouts', 'byExpert', 'byRank'] as const satisfies readonly ListName[];

/** The lists of orders of rows. */
export const orderLists = [
  'byExpert',
  'byRank',
  'byExpertInPython',
  'byRankInPython',
] as const satisfies readonly ListName[];

/** The name of a configuration in tables and plots. */
export function titleOf({ numTokens, numTopk, numExperts, numRanks, routing }: Configuration): string {
  const sizes = [numTokens, numTopk, numExperts, numRanks].map((size) => size.toLocaleString('en')).join(' · ');
  return routing === 'uniform' ? sizes : `${sizes}, ${routing}`;
}
