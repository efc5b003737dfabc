/** What a page of pictures keeps of routing: which tokens, in which form, and how it lies in the page. */
import { assert } from 'chai';
import fc from 'fast-check';
import { blockTokens, type Capture, emptyIn, keptArray, tokenOf } from '../ts/capture/capture.ts';
import { Collector } from '../ts/capture/collector.ts';
import { readPageData, writePageData } from '../ts/capture/document.ts';
import { sendersOf } from '../ts/capture/senders.ts';
import { defaultSettings } from '../ts/capture/settings.ts';
import { type IdType, idTypeNames, idTypes } from '../ts/values/id-types.ts';

/** The id of a slot in the made-up routing of these tests: some are no experts. */
function idAt(token: number, slot: number, numExperts: number): number {
  return ((token * 31 + slot * 7) % (numExperts + 3)) - 1;
}

/** Makes ids of a type; -1 is written as that type has it. */
function idsOf(type: IdType, from: number, count: number, numTopk: number, numExperts: number) {
  const ids = new idTypes[type].array(count * numTopk);
  for (let at = 0; at < ids.length; at++) {
    const id = idAt(from + Math.floor(at / numTopk), at % numTopk, numExperts);
    ids[at] = (ids instanceof BigInt64Array || ids instanceof BigUint64Array ? BigInt(id) : id) as never;
  }
  return ids;
}

describe('captures', () => {
  it('keep all tokens that fit, else blocks that are spread evenly, whatever the pieces and the type of the ids', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...idTypeNames),
        fc.integer({ min: 0, max: 9 * blockTokens }),
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom(5, 100),
        fc.integer({ min: 1, max: 12_000 }),
        fc.integer({ min: 1, max: 2000 }),
        fc.option(fc.integer({ min: 0, max: 4 })),
        (type, numTokens, numTopk, numExperts, maxIds, pieceTokens, emptyId) => {
          const collector = new Collector({
            numLayers: 1,
            numTokens,
            numTopk,
            numExperts,
            emptyId: emptyId ?? undefined,
            maxIds,
          });
          for (let token = 0; token < numTokens; token += pieceTokens) {
            const count = Math.min(pieceTokens, numTokens - token);
            const piece = { layer: 0, firstToken: token, numTokens: count, file: token < 1000 ? 0 : 1 };
            collector.add(piece, idsOf(type, token, count, numTopk, numExperts));
          }
          const { keepEvery, numKept, ids, runs } = collector;
          const kept = Array.from({ length: numTokens }, (_, token) => token).filter(
            (token) => Math.floor(token / blockTokens) % keepEvery === 0,
          );
          assert.strictEqual(numKept, kept.length);
          assert.deepStrictEqual(
            kept.map((_, row) => tokenOf({ keepEvery }, row)),
            kept,
          );
          // All of them are kept where they fit, and never more than one block too many
          assert.strictEqual(keepEvery === 1, numTokens <= Math.max(blockTokens, Math.floor(maxIds / numTopk)));
          assert.isAtMost(numKept * numTopk, Math.max(maxIds, blockTokens * numTopk) + blockTokens * numTopk);
          const [ofLayer] = ids;
          for (const [row, token] of kept.entries()) {
            for (let slot = 0; slot < numTopk; slot++) {
              const id = idAt(token, slot, numExperts);
              const isExpert = id >= 0 && id < numExperts && id !== emptyId;
              assert.strictEqual(ofLayer[row * numTopk + slot], isExpert ? id : emptyIn(ofLayer));
            }
          }
          // The first run is that of the pieces that begin before token 1000
          const split = Math.min(numTokens, Math.ceil(1000 / pieceTokens) * pieceTokens);
          const ends = [split, numTokens].map((end) => kept.filter((token) => token < end).length);
          if (numTokens > 0) assert.strictEqual(runs[0].at(-1)?.end, ends[1]);
          if (numTokens > split) assert.deepEqual(runs[0].find(({ file }) => file === 0)?.end, ends[0]);
        },
      ),
    );
  });

  it('hold ids in as few bytes as they fit, with a number left for empty slots', () => {
    for (const [numExperts, bytes] of [
      [1, 1],
      [255, 1],
      [256, 2],
      [65_535, 2],
      [65_536, 4],
    ]) {
      const array = keptArray(numExperts);
      assert.strictEqual(array.BYTES_PER_ELEMENT, bytes);
      assert.isAtLeast(emptyIn(new array(0)), numExperts);
    }
  });

  it('are the same after they have been written into a page', () => {
    const capture: Capture = {
      name: '</script><!--',
      format: 'npy',
      producer: null,
      idType: 'int32',
      axes: 'layers,tokens,topk',
      axesBecause: 'they are',
      ranks: [null, 3],
      layers: [3, 7],
      numLayers: 2,
      numTokens: 3,
      tokensOfLayer: [3, 2],
      dense: [1],
      numTopk: 2,
      numExperts: 300,
      findings: [{ code: 'NOTE', what: 'odd', layers: null, count: 1, effect: null, remedy: null }],
      numKept: 3,
      keepEvery: 1,
      runs: [[{ file: 0, end: 3 }], [{ file: null, end: 3 }]],
      counts: [new Float64Array(300).fill(2 ** 40), new Float64Array(300)],
      ids: [Uint16Array.of(1, 2, 299, 65_535, 0, 4), new Uint16Array(6)],
    };
    const settings = { ...defaultSettings(300), numRanks: 5 };
    const data = writePageData({ capture, settings });
    assert.notInclude(data.json, '<');
    assert.deepStrictEqual(readPageData(data), { capture, settings });
    assert.throws(() => readPageData({ ...data, bytes: data.bytes.subarray(1) }), /4823 bytes, and not 4824/);
    assert.throws(() => readPageData({ ...data, json: '{"version":2}' }), /version 2, and not of 1/);
  });

  it('know the senders of files that name them, or of which there is one for each rank', () => {
    assert.deepStrictEqual(sendersOf([2, 0], 4), [2, 0]);
    assert.strictEqual(sendersOf([2, 4], 4), null);
    assert.deepStrictEqual(sendersOf([null, null], 2), [0, 1]);
    assert.strictEqual(sendersOf([null, null], 4), null);
    assert.strictEqual(sendersOf([null, 1], 2), null);
    assert.strictEqual(sendersOf([null], 1), null);
  });
});
