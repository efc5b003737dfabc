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

/** Where most MoE layers are: decoding, prefill, routing logs; few and many experts and ranks; skewed and padded routing. */
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

/** Over the number of tokens, on one node. */
export const overTokens = [0, 1, 2, 3, 4, 5, 6, 7].map((exponent) => uniform(10 ** exponent, 8, 256, 8));

/** Over the number of ranks. */
export const overRanks = [1, 2, 4, 8, 16, 32, 64, 128, 256].map((numRanks) => uniform(4096, 8, 256, numRanks));

/** Over the number of experts; beyond 4088 the kernel has another table. */
export const overExperts = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4088, 4096, 8192, 16384, 32768, 65536].map(
  (numExperts) => uniform(4096, 8, numExperts, 8),
);

/** What the histogram of experts alone is measured on. */
export const histogramConfiguration = uniform(4096, 8, 256, 8);

/** As tables and plots name it. */
export function titleOf({ numTokens, numTopk, numExperts, numRanks, routing }: Configuration): string {
  const sizes = [numTokens, numTopk, numExperts, numRanks].map((size) => size.toLocaleString('en')).join(' · ');
  return routing === 'uniform' ? sizes : `${sizes}, ${routing}`;
}
