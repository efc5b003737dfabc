/**
 * Nothing must leak from one call to the next: among several groups side by side, in a group whose requests change
 * shape, and in a group after an error.
 *
 * @module
 */
import { assert } from 'chai';
import type { DispatchLayout, LayoutArrays } from 'dispatch-layout';
import { expectAnswer, expectArrays, expectError, expectSameMemory } from '../support/expect.ts';
import { expectUntouched, markedArrays } from '../support/marked-arrays.ts';
import { Random } from '../support/random.ts';
import { type IdType, idArray, storageOf, type TopkStorage } from '../support/topk-storage.ts';
import type { GroupOptions, TestDevice, TestGroup } from './devices.ts';
import { type Answer, answer, forOutputs, outputs, rowsOf } from './oracle.ts';

interface Request {
  readonly topkIdx: TopkStorage;
  readonly numExperts: number;
  readonly mask?: 'bytes' | 'bits';
}

function randomRequest(random: Random, numExperts: number): Request {
  const [numTokens, numTopk] = [random.pick([0, 1, 3, 60, 128, 200, 1700]), random.pick([0, 1, 2, 8, 9])];
  const type = random.pick<IdType>(['int64', 'int32', numExperts < 32768 ? 'int16' : 'uint16']);
  const smallest = type === 'uint16' ? 0 : -1;
  const ids = Array.from({ length: numTokens * numTopk }, () => random.between(smallest, numExperts - 1));
  const mask = random.pick(['bytes', 'bits'] as const);
  return { topkIdx: { data: idArray(type, ids), shape: [numTokens, numTopk] }, numExperts, mask };
}

function answerFor(group: GroupOptions, { topkIdx, numExperts, mask }: Request): Answer {
  return answer({ ...group, rows: rowsOf(topkIdx), numExperts, mask });
}

function layOut(group: TestGroup, { topkIdx, numExperts, mask }: Request): DispatchLayout {
  return group.getDispatchLayout(topkIdx, numExperts, { mask });
}

/** Declares the tests of the reuse of groups and arrays on one device. */
export function reuse(device: TestDevice): void {
  describe('reuse', () => {
    it('the calls of many groups side by side can be interleaved', () => {
      const random = new Random(1);
      const groups = [
        { numRanks: 8 },
        { numRanks: 16 },
        { numRanks: 16, numRanksPerNode: 4 },
        { numRanks: 8, placement: Array.from({ length: 64 }, () => random.below(8)) },
        { numRanks: 8, placement: Array.from({ length: 64 }, () => random.below(8)) },
        { numRanks: 2 },
        { numRanks: 64 },
        { numRanks: 128 },
        { numRanks: 640 },
      ].map((options) => ({ options, group: device.createGroup(options) }));
      for (let call = 0; call < 150; call += 1) {
        const { options, group } = random.pick(groups);
        const numExperts = options.placement?.length ?? options.numRanks * random.between(1, 3);
        const request = randomRequest(random, numExperts);
        expectAnswer(() => layOut(group, request), answerFor(options, request));
      }
    });

    it('the number of experts of one group can change', () => {
      const random = new Random(2);
      const options = { numRanks: 8 };
      const group = device.createGroup(options);
      for (let call = 0; call < 100; call += 1) {
        const request = randomRequest(random, random.pick([8, 16, 256, 248, 8000, 40000]));
        expectAnswer(() => layOut(group, request), answerFor(options, request));
      }
    });

    it('in a group of many ranks, rows of one call do not appear in the next', () => {
      const options = { numRanks: 200 };
      const group = device.createGroup(options);
      const random = new Random(3);
      for (const numTokens of [300, 10, 299, 1, 300]) {
        const ids = Array.from({ length: numTokens * 8 }, () => random.between(-1, 199));
        const request = { topkIdx: { data: idArray('int64', ids), shape: [numTokens, 8] as const }, numExperts: 200 };
        expectAnswer(() => group.getDispatchLayout(request.topkIdx, 200), answerFor(options, request));
      }
    });

    it('the number of slots of one group can change', () => {
      const random = new Random(8);
      for (const options of [{ numRanks: 8 }, { numRanks: 80 }]) {
        const group = device.createGroup(options);
        for (const numTopk of [2, 9000, 1, 600_000, 3, 0, 8]) {
          const ids = Array.from({ length: numTopk }, () => random.between(-1, 79));
          const request = { topkIdx: { data: idArray('int16', ids), shape: [1, numTopk] as const }, numExperts: 80 };
          expectAnswer(() => group.getDispatchLayout(request.topkIdx, 80), answerFor(options, request));
        }
      }
    });

    it('small requests can follow a large one, and a large one small ones', () => {
      const random = new Random(4);
      const options = { numRanks: 72, numRanksPerNode: 72 };
      const group = device.createGroup(options);
      for (const numTokens of [1, 30000, 2, 1, 50000, 5]) {
        const ids = Array.from({ length: numTokens * 4 }, () => random.between(-1, 143));
        const request = { topkIdx: { data: idArray('int32', ids), shape: [numTokens, 4] as const }, numExperts: 144 };
        expectAnswer(() => group.getDispatchLayout(request.topkIdx, 144), answerFor(options, request));
      }
    });

    for (const [numRanks, numExperts, numTopk] of [
      [8, 64, 8],
      [64, 256, 8],
      [128, 256, 8],
      [8, 8192, 4],
      [8, 64, 100],
      [600, 600, 3],
    ]) {
      it(`results are right after an error: R=${numRanks} E=${numExperts} K=${numTopk}`, () => {
        const random = new Random(5);
        const options = { numRanks };
        const group = device.createGroup(options);
        for (const numTokens of [1, 100, 700, 3000]) {
          const ids = Array.from({ length: numTokens * numTopk }, () => random.between(-1, numExperts - 1));
          const good = { topkIdx: { data: idArray('int64', ids), shape: [numTokens, numTopk] as const }, numExperts };
          const bad = good.topkIdx.data.slice() as BigInt64Array;
          const index = random.between(Math.floor(bad.length / 2), bad.length - 1);
          bad[index] = BigInt(numExperts);
          expectError(() => group.getDispatchLayout({ data: bad, shape: good.topkIdx.shape }, numExperts), {
            code: 'INVALID_EXPERT',
            token: Math.floor(index / numTopk),
            slot: index % numTopk,
            value: BigInt(numExperts),
          });
          expectAnswer(() => group.getDispatchLayout(good.topkIdx, numExperts), answerFor(options, good));
        }
      });
    }

    it('results are right after an error near the end of a large input', () => {
      for (const numRanks of [8, 80]) {
        const group = device.createGroup({ numRanks });
        const bad = new Int16Array(90_000 * 8).fill(1);
        bad[bad.length - 1] = -2;
        expectError(() => group.getDispatchLayout({ data: bad, shape: [90_000, 8] }, 80), {
          code: 'INVALID_EXPERT',
          token: 89_999,
          slot: 7,
          value: -2,
        });
        const good = {
          topkIdx: storageOf('int64', [
            [0, 1, 79],
            [-1, 40, 1],
          ]),
          numExperts: 80,
        };
        expectAnswer(() => group.getDispatchLayout(good.topkIdx, 80), answerFor({ numRanks }, good));
      }
    });

    it('the results of earlier calls do not change', () => {
      const random = new Random(6);
      const options = { numRanks: 16 };
      const group = device.createGroup(options);
      const calls = Array.from({ length: 20 }, () => {
        const request = randomRequest(random, 64);
        return { request, layout: layOut(group, request) };
      });
      for (const { request, layout } of calls) expectAnswer(() => layout, answerFor(options, request));
    });

    for (const numRanks of [3, 8, 16, 24, 64, 96, 600]) {
      it(`an earlier result as out gives what new arrays give: ${numRanks} ranks`, () => {
        const random = new Random(numRanks);
        const options = { numRanks, numRanksPerNode: numRanks === 3 ? 1 : 8 };
        const group = device.createGroup(options);
        const numExperts = numRanks * 2;
        let out: DispatchLayout | undefined;
        for (let call = 0; call < 10; call += 1) {
          const ids = Array.from({ length: 150 * 4 }, () => random.between(-1, numExperts - 1));
          const request = { topkIdx: { data: idArray('int32', ids), shape: [150, 4] as const }, numExperts };
          const layout: DispatchLayout = group.getDispatchLayout(request.topkIdx, numExperts, out && { out });
          expectAnswer(() => layout, answerFor(options, request));
          if (out !== undefined) expectSameMemory(layout, out);
          out = layout;
        }
      });
    }

    it('arrays for a mask of bytes serve one of bits, whose arrays are too short for bytes', () => {
      const random = new Random(9);
      const options = { numRanks: 20, numRanksPerNode: 4 };
      const group = device.createGroup(options);
      const ids = Array.from({ length: 90 * 3 }, () => random.between(-1, 39));
      const request = { topkIdx: { data: idArray('int64', ids), shape: [90, 3] as const }, numExperts: 40 };
      const ofBytes = group.getDispatchLayout(request.topkIdx, 40);
      const ofBits = group.getDispatchLayout(request.topkIdx, 40, { mask: 'bits', out: ofBytes });
      expectAnswer(() => ofBits, answerFor(options, { ...request, mask: 'bits' }));
      expectSameMemory(ofBits, ofBytes);
      assert.strictEqual(group.getDispatchLayout(request.topkIdx, 40, { mask: 'bits', out: ofBits }), ofBits);
      expectError(() => group.getDispatchLayout(request.topkIdx, 40, { out: ofBits }), {
        code: 'OUT',
        message: /isTokenInRank has 270 elements. It needs at least 1800/,
      });
    });

    it('out can be at any place in a buffer, and nothing is written outside of it', () => {
      const random = new Random(7);
      for (const numRanks of [1, 2, 3, 8, 16, 20, 64, 65, 100, 520]) {
        for (const numTokens of [1, 7, 128, 131]) {
          const mask = random.pick(['bytes', 'bits'] as const);
          const options = { numRanks, numRanksPerNode: 1 };
          const numExperts = numRanks * 2;
          const ids = Array.from({ length: numTokens * 3 }, () => random.between(-1, numExperts - 1));
          const request = {
            topkIdx: { data: idArray('int64', ids), shape: [numTokens, 3] as const },
            numExperts,
            mask,
          };
          const arena = new ArrayBuffer(2 ** 18);
          new Uint8Array(arena).fill(0xa5);
          let end = 4 * random.below(4);
          const used = new Uint8Array(arena.byteLength);
          const out = forOutputs((name) => {
            const { type, lengthOf } = outputs[name];
            const length = lengthOf({ ...options, numTokens, numExperts, mask });
            if (length === null) return null;
            end += type.BYTES_PER_ELEMENT * random.below(type === Uint8Array ? 20 : 3);
            const array = new type(arena, end, length);
            used.fill(1, end, end + array.byteLength);
            end += array.byteLength;
            return array;
          }) as unknown as LayoutArrays;
          expectAnswer(
            () => device.getDispatchLayout(request.topkIdx, numExperts, options, { out, mask }),
            answerFor(options, request),
          );
          const expected = answerFor(options, request);
          if ('layout' in expected) expectArrays(out, expected.layout);
          const bytes = new Uint8Array(arena);
          for (let index = 0; index < bytes.length; index += 1) {
            if (used[index] === 0 && bytes[index] !== 0xa5) assert.fail(`byte ${index} beside out was written`);
          }
        }
      }
    });

    it('out is untouched by an error near the end of a large input', () => {
      const ids = new BigInt64Array(70001 * 2).fill(1n);
      ids[70001 * 2 - 1] = 99n;
      for (const numRanks of [8, 64, 80]) {
        const group = { numRanks, numRanksPerNode: 1 };
        const out = markedArrays({ ...group, numTokens: 70001, numExperts: numRanks });
        expectError(
          () => device.getDispatchLayout({ data: ids, shape: [70001, 2] }, numRanks, group, { out }),
          numRanks === 80 ? { code: 'INVALID_EXPERT' } : { code: 'INVALID_EXPERT', token: 70000, slot: 1, value: 99n },
        );
        expectUntouched(out);
      }
    });

    it('changes of a placement after the group was made have no effect', () => {
      const placement = [0, 1, 1, 0];
      const group = device.createGroup({ numRanks: 2, placement });
      const topkIdx = storageOf('int32', [
        [0, 3],
        [1, 2],
      ]);
      const expected = {
        numTokensPerRank: [1, 1],
        numTokensPerRdmaRank: null,
        numTokensPerExpert: [1, 1, 1, 1],
        isTokenInRank: Uint8Array.of(1, 0, 0, 1),
      };
      expectArrays(group.getDispatchLayout(topkIdx, 4), expected);
      placement.fill(1);
      expectArrays(group.getDispatchLayout(topkIdx, 4), expected);
    });
  });
}
