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
export const overTokens = [0, 1, 2, 3, 4, 5, 6, 7].map((exponent) => uniform(10 ** exponent, 8, 256, 8));

/** From 1 to 256 ranks. */
export const overRanks = [1, 2, 4, 8, 16, 32, 64, 128, 256].map((numRanks) => uniform(4096, 8, 256, numRanks));

/** From 8 to 65,536 experts. With more than 4088 the kernel uses another table. */
export const overExperts = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4088, 4096, 8192, 16384, 32768, 65536].map(
  (numExperts) => uniform(4096, 8, numExperts, 8),
);

/** What is also measured in Python: few and many tokens, on one node and on eight. */
export const inPython = [4096, 65536].flatMap((numTokens) =>
  [8, 64].map((numRanks) => uniform(numTokens, 8, 256, numRanks)),
);

/** The name of a configuration in tables and plots. */
export function titleOf({ numTokens, numTopk, numExperts, numRanks, routing }: Configuration): string {
  const sizes = [numTokens, numTopk, numExperts, numRanks].map((size) => size.toLocaleString('en')).join(' · ');
  return routing === 'uniform' ? sizes : `${sizes}, ${routing}`;
}
