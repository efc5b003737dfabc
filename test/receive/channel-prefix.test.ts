/** `channelPrefix`: a sender's tokens in the channels of DeepEP. */
import { assert } from 'chai';
import { channelPrefix, type DispatchLayout, getDispatchLayout, getRankPermutation } from 'dispatch-layout';
import fc from 'fast-check';
import { detached } from '../support/buffers.ts';
import { expectError } from '../support/expect.ts';
import { Random } from '../support/random.ts';

/** The same by the definition: for each rank and channel, the tokens before the channel's end that go to the rank. */
function prefixOf(layout: DispatchLayout, numChannels: number): number[] {
  const { numTokens, numRanks, isTokenInRank } = layout;
  const perChannel = Math.ceil(numTokens / numChannels);
  return Array.from({ length: numRanks * numChannels }, (_, index) => {
    const rank = Math.floor(index / numChannels);
    const end = Math.min(numTokens, ((index % numChannels) + 1) * perChannel);
    return Array.from({ length: end }, (_token, token) => isTokenInRank[token * numRanks + rank]).reduce(
      (sum, bit) => sum + bit,
      0,
    );
  });
}

describe('channelPrefix', () => {
  it('counts the tokens of each rank up to each channel, in bytes and in bits', () => {
    fc.assert(
      fc.property(
        fc.noShrink(fc.nat(2 ** 31 - 1)),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 1, max: 20 }),
        fc.constantFrom(1, 2, 8, 9, 72),
        (seed, numTokens, numChannels, numRanks) => {
          const random = new Random(seed);
          const data = Int32Array.from({ length: numTokens * 2 }, () => random.between(-1, numRanks - 1));
          const options = { numRanks, numRanksPerNode: numRanks };
          const topkIdx = { data, shape: [numTokens, 2] };
          const layout = getDispatchLayout(topkIdx, numRanks, options);
          const expected = Int32Array.from(prefixOf(layout, numChannels));
          assert.deepStrictEqual(channelPrefix(layout, numChannels), expected);
          const bits = getDispatchLayout(topkIdx, numRanks, { ...options, mask: 'bits' });
          assert.deepStrictEqual(channelPrefix(bits, numChannels), expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('ends with all tokens of each rank, also if there are more channels than tokens', () => {
    const layout = getDispatchLayout(
      [
        [0, 1],
        [1, 3],
      ],
      4,
      { numRanks: 4 },
    );
    for (const numChannels of [1, 2, 3, 24]) {
      const prefix = channelPrefix(layout, numChannels);
      const last = Array.from({ length: 4 }, (_, rank) => prefix[rank * numChannels + numChannels - 1]);
      assert.deepStrictEqual(last, Array.from(layout.numTokensPerRank));
    }
  });

  it('refuses what is no layout with rows, and what is no number of channels', () => {
    const topkIdx = [[0, 5]];
    const layout = getDispatchLayout(topkIdx, 8, { numRanks: 4 });
    const noRows = getDispatchLayout(topkIdx, 8, { numRanks: 4, mask: 'none' });
    const order = getRankPermutation(topkIdx, 8, { numRanks: 4 });
    const short = { ...layout, isTokenInRank: new Uint8Array(3) };
    const noShapes = [4n, -1, 0.5, '4', Number.NaN, Symbol('4')].map((numRanks) => ({ ...layout, numRanks }));
    const negative = { ...layout, numTokens: -4, numRanks: -1 };
    for (const wrong of [noRows, order, short, ...noShapes, negative, {}, null, undefined, 7]) {
      const run = () => channelPrefix(wrong as DispatchLayout, 2);
      expectError(run, { code: 'OPTION', value: wrong, message: /layout is .*mask must not be none/ });
    }
    for (const numChannels of [0, -1, 1.5, Number.NaN, '2', undefined, 2n]) {
      const run = () => channelPrefix(layout, numChannels as number);
      expectError(run, { code: 'OPTION', value: numChannels, message: /numChannels is / });
    }
    expectError(() => channelPrefix(layout, 2 ** 40), { code: 'OUT_OF_MEMORY', message: /1099511627776 channels/ });
    const gone = { ...layout, isTokenInRank: detached(new Uint8Array(4)) };
    expectError(() => channelPrefix(gone, 2), { code: 'DETACHED_BUFFER' });
  });
});
