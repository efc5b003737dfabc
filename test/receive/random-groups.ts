/**
 * Random groups for the tests of what ranks receive.
 *
 * @module
 */
import fc from 'fast-check';
import { Random } from '../support/random.ts';
import type { GroupQuestion } from './oracle.ts';

/** A random group: ranks without tokens, empty slots, experts that are selected twice, and experts on no rank. */
export const groupArbitrary: fc.Arbitrary<GroupQuestion> = fc
  .record({
    seed: fc.noShrink(fc.nat(2 ** 31 - 1)),
    nodes: fc.constantFrom([1, 1], [2, 2], [3, 3], [5, 8], [6, 2], [8, 4], [9, 3], [12, 1]),
    numTopk: fc.integer({ min: 0, max: 7 }),
    maxTokens: fc.integer({ min: 0, max: 14 }),
    perRank: fc.integer({ min: 1, max: 5 }),
    placement: fc.constantFrom('blocks', 'linear', 'round_robin', 'table'),
    emptyShare: fc.constantFrom(0, 0.2, 0.9),
    alignment: fc.constantFrom(1, 2, 8, 128),
  })
  .map(({ seed, nodes: [numRanks, numRanksPerNode], numTopk, maxTokens, perRank, alignment, ...rest }) => {
    const random = new Random(seed);
    const isEven = rest.placement === 'blocks';
    const numExperts = isEven ? numRanks * perRank : random.between(1, numRanks * perRank);
    const placement = {
      blocks: undefined,
      linear: 'linear' as const,
      round_robin: 'round_robin' as const,
      table: Array.from({ length: numExperts }, () => random.between(-1, numRanks - 1)),
    }[rest.placement];
    const id = (): number => (random.chance(rest.emptyShare) ? -1 : random.below(numExperts));
    const rowsOfRanks = Array.from({ length: numRanks }, () =>
      Array.from({ length: random.chance(0.2) ? 0 : random.between(0, maxTokens) }, () =>
        Array.from({ length: numTopk }, id),
      ),
    );
    return { rowsOfRanks, numTopk, numExperts, numRanksPerNode, placement, alignment };
  });
