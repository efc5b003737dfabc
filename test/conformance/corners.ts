/**
 * Hand-made cases, one group for every row of the table of corner cases in the contract, under the row's name. The
 * expected numbers were worked out by hand.
 *
 * @module
 */
import { assert } from 'chai';
import type { LayoutOptions, TopkIdxInput } from 'dispatch-layout';
import { type ErrorExpectation, expectArrays, expectError } from '../support/expect.ts';
import { expectUntouched, markedArrays } from '../support/marked-arrays.ts';
import { type IdType, idTypeNames, storageOf } from '../support/topk-storage.ts';
import type { GroupOptions, TestDevice } from './devices.ts';

type Ids = readonly (readonly (number | bigint)[])[];

/** Expected outputs in a form that is easy to write by hand: the mask has one string of 0 and 1 per token. */
interface ByHand {
  readonly ranks: readonly number[];
  readonly rdma: readonly number[] | null;
  readonly experts: readonly number[];
  readonly mask: readonly string[];
}

/** Two nodes of two ranks, with two experts on each rank: expert e is on rank e >> 1, and rank r is on node r >> 1. */
const twoNodes: GroupOptions = { numRanks: 4, numRanksPerNode: 2 };

/** The modes, for cases that must give the same result in both. */
const bothModes = ['throw', 'ignore'] as const;

/** Declares all hand-made cases on one device. */
export function corners(device: TestDevice): void {
  /**
   * Checks that the layout of `topkIdx`, in new arrays, in given ones and with a mask of bits, is what was worked out by
   * hand.
   */
  function expectByHand(
    topkIdx: TopkIdxInput,
    numExperts: number,
    group: GroupOptions,
    expected: ByHand,
    layoutOptions: LayoutOptions = {},
  ): void {
    const layout = device.getDispatchLayout(topkIdx, numExperts, group, layoutOptions);
    const expectedArrays = {
      numTokensPerRank: expected.ranks,
      numTokensPerRdmaRank: expected.rdma,
      numTokensPerExpert: expected.experts,
      isTokenInRank: Uint8Array.from(expected.mask.join(''), Number),
    };
    expectArrays(layout, expectedArrays);
    assert.strictEqual(layout.device, device.device);
    assert.strictEqual(layout.numTokens, expected.mask.length);
    assert.strictEqual(layout.numRanks, group.numRanks);
    assert.strictEqual(layout.numExperts, numExperts);
    assert.strictEqual(layout.numRdmaRanks, expected.rdma?.length ?? 1);

    const out = markedArrays({ ...group, numTokens: expected.mask.length, numExperts });
    device.getDispatchLayout(topkIdx, numExperts, group, { ...layoutOptions, out });
    expectArrays(out, expectedArrays);

    // Rank 0 is the first character of a row, and the last digit of its first byte
    const bytes = expected.mask.flatMap((row) => row.match(/.{1,8}/g) ?? []);
    const packed = bytes.map((ranks) => Number.parseInt([...ranks].reverse().join(''), 2));
    const ofBits = device.getDispatchLayout(topkIdx, numExperts, group, { ...layoutOptions, mask: 'bits' });
    expectArrays(ofBits, { ...expectedArrays, isTokenInRank: packed });
  }

  /** Checks that the call throws the error, and does not write to the caller's arrays. */
  function expectFailure(
    topkIdx: TopkIdxInput,
    numTokens: number,
    numExperts: number,
    group: GroupOptions,
    expected: ErrorExpectation,
    layoutOptions: LayoutOptions = {},
  ): void {
    expectError(() => device.getDispatchLayout(topkIdx, numExperts, group, layoutOptions), expected);
    const out = markedArrays({ ...group, numTokens, numExperts });
    expectError(() => device.getDispatchLayout(topkIdx, numExperts, group, { ...layoutOptions, out }), expected);
    expectUntouched(out);
  }

  const int64 = (ids: Ids) => storageOf('int64', ids);

  describe('hand-made cases', () => {
    describe('an ordinary request', () => {
      it('counts tokens per rank, RDMA rank and expert, and marks the ranks of each token', () => {
        expectByHand(
          int64([
            [0, 1],
            [2, 7],
            [5, 4],
            [6, 3],
          ]),
          8,
          twoNodes,
          {
            ranks: [1, 2, 1, 2],
            rdma: [3, 3],
            experts: [1, 1, 1, 1, 1, 1, 1, 1],
            mask: ['1000', '0101', '0010', '0101'],
          },
        );
      });

      it('works on one rank with one expert', () => {
        expectByHand(
          int64([[0], [0], [-1]]),
          1,
          { numRanks: 1 },
          { ranks: [2], rdma: null, experts: [2], mask: ['1', '1', '0'] },
        );
      });

      it('gives bit-identical output every time', () => {
        const topkIdx = int64([
          [3, 1],
          [0, 7],
          [5, 5],
        ]);
        const first = device.getDispatchLayout(topkIdx, 8, twoNodes);
        const second = device.getDispatchLayout(topkIdx, 8, twoNodes);
        expectArrays(second, first);
        assert.notStrictEqual(first.isTokenInRank.buffer, second.isTokenInRank.buffer);
      });

      it('does not change topkIdx', () => {
        const topkIdx = int64([
          [3, -1],
          [0, 7],
        ]);
        device.getDispatchLayout(topkIdx, 8, twoNodes);
        assert.deepStrictEqual([...topkIdx.data], [3n, -1n, 0n, 7n]);
      });
    });

    describe('the same expert twice in a row', () => {
      for (const invalidExperts of bothModes) {
        it(`counts twice per expert, once per rank and node (${invalidExperts})`, () => {
          expectByHand(
            int64([
              [5, 5, 5],
              [0, 1, 0],
              [2, 0, 3],
            ]),
            8,
            twoNodes,
            {
              ranks: [2, 1, 1, 0],
              rdma: [2, 1],
              experts: [3, 1, 1, 1, 0, 3, 0, 0],
              mask: ['0010', '1000', '1100'],
            },
            { invalidExperts },
          );
        });
      }
    });

    describe('-1', () => {
      for (const invalidExperts of bothModes) {
        it(`is skipped (${invalidExperts})`, () => {
          expectByHand(
            int64([
              [-1, 3],
              [-1, -1],
              [6, -1],
            ]),
            8,
            twoNodes,
            {
              ranks: [0, 1, 0, 1],
              rdma: [1, 1],
              experts: [0, 0, 0, 1, 0, 0, 1, 0],
              mask: ['0100', '0000', '0001'],
            },
            { invalidExperts },
          );
        });
      }

      for (const type of idTypeNames.filter((name) => name.startsWith('int'))) {
        it(`is skipped in ${type}`, () => {
          expectByHand(
            storageOf(type, [[-1, 1]]),
            2,
            { numRanks: 2 },
            { ranks: [0, 1], rdma: null, experts: [0, 1], mask: ['01'] },
          );
        });
      }
    });

    describe('other negative, or >= numExperts', () => {
      for (const [type, id] of [
        ['int64', -2],
        ['int64', 8],
        ['int32', -2],
        ['int32', 8],
        ['int32', 2 ** 31 - 1],
        ['int32', -(2 ** 31)],
        ['int16', -2],
        ['int16', 8],
        ['int16', 32767],
        ['int16', -32768],
        ['int8', -2],
        ['int8', 8],
        ['int8', 127],
        ['int8', -128],
        ['uint32', 8],
        ['uint32', 0xffffffff],
        ['uint32', 0x80000000],
        ['uint16', 8],
        ['uint16', 65535],
        ['uint16', 32768],
        ['uint8', 8],
        ['uint8', 255],
        ['uint8', 128],
        ['uint64', 8],
      ] as [IdType, number][]) {
        const value = type.endsWith('64') ? BigInt(id) : id;

        it(`${type} ${id}: the error names token, slot and value; the caller's outputs are untouched (strict)`, () => {
          expectFailure(
            storageOf(type, [
              [0, 1],
              [2, id],
              [id, 3],
            ]),
            3,
            8,
            twoNodes,
            { code: 'INVALID_EXPERT', token: 1, slot: 1, value },
          );
        });

        it(`${type} ${id}: is skipped (ignore)`, () => {
          expectByHand(
            storageOf(type, [
              [0, 1],
              [2, id],
              [id, id],
            ]),
            8,
            twoNodes,
            {
              ranks: [1, 1, 0, 0],
              rdma: [2, 0],
              experts: [1, 1, 1, 0, 0, 0, 0, 0],
              mask: ['1000', '0100', '0000'],
            },
            { invalidExperts: 'ignore' },
          );
        });
      }

      it('reports the first one in row-major order, also where the data are stored column by column', () => {
        // The rows are [0, 9] and [10, 1]; in memory, 10 comes before 9.
        const topkIdx = { data: BigInt64Array.of(0n, 10n, 9n, 1n), shape: [2, 2], fortranOrder: true };
        expectFailure(topkIdx, 2, 8, twoNodes, { code: 'INVALID_EXPERT', token: 0, slot: 1, value: 9n });
      });

      it('is named in the message, which has a remedy', () => {
        const error = expectError(() => device.getDispatchLayout(int64([[1], [300]]), 256, { numRanks: 8 }), {
          code: 'INVALID_EXPERT',
        });
        assert.include(error.message, 'topkIdx[1][0] is 300, not an expert in [0, 256)');
      });
    });

    describe('an int64 that does not fit int32', () => {
      for (const id of [
        2n ** 32n + 5n,
        2n ** 32n - 1n,
        2n ** 32n,
        -(2n ** 32n),
        -(2n ** 32n) + 5n,
        2n ** 31n,
        -(2n ** 31n) - 1n,
        2n ** 63n - 1n,
        -(2n ** 63n),
        2n ** 62n + 1n,
        2n ** 48n + 3n,
        2n ** 40n,
        2n ** 33n - 1n,
        -(2n ** 40n) - 1n,
      ]) {
        it(`${id}: the error names token, slot and value (strict)`, () => {
          expectFailure(
            int64([
              [0, 1],
              [2, 3],
              [id, 0],
            ]),
            3,
            8,
            twoNodes,
            { code: 'INVALID_EXPERT', token: 2, slot: 0, value: id },
          );
        });

        it(`${id}: is skipped, never truncated (ignore)`, () => {
          expectByHand(
            int64([[id, 7]]),
            8,
            twoNodes,
            {
              ranks: [0, 0, 0, 1],
              rdma: [0, 1],
              experts: [0, 0, 0, 0, 0, 0, 0, 1],
              mask: ['0001'],
            },
            { invalidExperts: 'ignore' },
          );
        });
      }

      for (const id of [2n ** 64n - 1n, 2n ** 64n - 2n, 2n ** 63n, 2n ** 32n + 5n, 2n ** 63n + 2n]) {
        it(`uint64 ${id}: is an error, and is skipped with 'ignore'`, () => {
          expectFailure(storageOf('uint64', [[0, id]]), 1, 8, twoNodes, {
            code: 'INVALID_EXPERT',
            token: 0,
            slot: 1,
            value: id,
          });
          expectByHand(
            storageOf('uint64', [[0, id]]),
            8,
            twoNodes,
            {
              ranks: [1, 0, 0, 0],
              rdma: [1, 0],
              experts: [1, 0, 0, 0, 0, 0, 0, 0],
              mask: ['1000'],
            },
            { invalidExperts: 'ignore' },
          );
        });
      }
    });

    describe('numExperts % numRanks != 0', () => {
      const ids = [
        [0, 9],
        [8, 9],
        [7, 2],
      ];

      it('is an error, unless a placement is given (strict)', () => {
        expectFailure(int64(ids), 3, 10, twoNodes, { code: 'UNEVEN_EXPERTS', message: /10.*4|4.*10/s });
        // Experts 0 to 4 are on rank 3, 5 to 7 on rank 1, 8 on rank 0, and 9 on rank 1.
        expectByHand(
          int64(ids),
          10,
          { ...twoNodes, placement: [3, 3, 3, 3, 3, 1, 1, 1, 0, 1] },
          {
            ranks: [1, 3, 0, 2],
            rdma: [3, 2],
            experts: [1, 0, 1, 0, 0, 0, 0, 1, 1, 2],
            mask: ['0101', '1100', '0101'],
          },
        );
      });

      it('the experts after the last equal share belong to no rank (ignore)', () => {
        expectByHand(
          int64(ids),
          10,
          twoNodes,
          {
            ranks: [1, 1, 0, 1],
            rdma: [2, 1],
            experts: [1, 0, 1, 0, 0, 0, 0, 1, 1, 2],
            mask: ['1000', '0000', '0101'],
          },
          { invalidExperts: 'ignore' },
        );
      });
    });

    describe('numExperts < numRanks', () => {
      const ids = [
        [0, 2],
        [1, 1],
      ];

      it('is an error, unless a placement is given (strict)', () => {
        expectFailure(int64(ids), 2, 3, twoNodes, { code: 'UNEVEN_EXPERTS' });
        expectByHand(
          int64(ids),
          3,
          { ...twoNodes, placement: [3, 0, 2] },
          {
            ranks: [1, 0, 1, 1],
            rdma: [1, 1],
            experts: [1, 2, 1],
            mask: ['0011', '1000'],
          },
        );
      });

      it('makes all outputs of ranks zero (ignore)', () => {
        expectByHand(
          int64(ids),
          3,
          twoNodes,
          {
            ranks: [0, 0, 0, 0],
            rdma: [0, 0],
            experts: [1, 2, 1],
            mask: ['0000', '0000'],
          },
          { invalidExperts: 'ignore' },
        );
      });
    });

    describe('numRanks over one node', () => {
      it('a node has eight ranks by default', () => {
        // There are 16 experts on 16 ranks. Ranks 0 to 7 are node 0, and ranks 8 to 15 are node 1.
        expectByHand(
          int64([
            [7, 0],
            [8, 7],
            [15, 8],
          ]),
          16,
          { numRanks: 16 },
          {
            ranks: [1, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 1],
            rdma: [2, 2],
            experts: [1, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 1],
            mask: ['1000000100000000', '0000000110000000', '0000000010000001'],
          },
        );
      });

      it('any numRanksPerNode that divides numRanks is accepted', () => {
        const ids = int64([
          [0, 3],
          [4, 5],
          [2, 1],
        ]);
        const arrays = { ranks: [1, 1, 1, 1, 1, 1], experts: [1, 1, 1, 1, 1, 1], mask: ['100100', '000011', '011000'] };
        expectByHand(ids, 6, { numRanks: 6, numRanksPerNode: 1 }, { ...arrays, rdma: [1, 1, 1, 1, 1, 1] });
        expectByHand(ids, 6, { numRanks: 6, numRanksPerNode: 2 }, { ...arrays, rdma: [2, 2, 1] });
        expectByHand(ids, 6, { numRanks: 6, numRanksPerNode: 3 }, { ...arrays, rdma: [2, 2] });
      });

      for (const invalidExperts of bothModes) {
        it(`any other numRanksPerNode is an error (${invalidExperts})`, () => {
          const ids = int64([[0]]);
          const code = 'NUM_RANKS_PER_NODE';
          expectFailure(ids, 1, 12, { numRanks: 12 }, { code, message: /12/ }, { invalidExperts });
          expectFailure(ids, 1, 6, { numRanks: 6, numRanksPerNode: 4 }, { code, value: 4 }, { invalidExperts });
        });
      }
    });

    describe('numRanks <= numRanksPerNode', () => {
      for (const group of [
        { numRanks: 2 },
        { numRanks: 2, numRanksPerNode: 2 },
        { numRanks: 2, numRanksPerNode: 3 },
        { numRanks: 2, numRanksPerNode: 72 },
      ]) {
        it(`numTokensPerRdmaRank is null: ${JSON.stringify(group)}`, () => {
          for (const invalidExperts of bothModes) {
            expectByHand(
              int64([
                [0, 1],
                [1, 1],
              ]),
              2,
              group,
              { ranks: [1, 2], rdma: null, experts: [1, 3], mask: ['11', '01'] },
              { invalidExperts },
            );
          }
        });
      }
    });

    describe('numTokens = 0', () => {
      for (const [name, topkIdx] of Object.entries<TopkIdxInput>({
        'int64 [0, 8]': { data: new BigInt64Array(0), shape: [0, 8] },
        'int32 [0, 0]': { data: new Int32Array(0), shape: [0, 0] },
        'strided [0, 2]': { data: BigInt64Array.of(1n, 2n), shape: [0, 2], strides: [5, 1] },
        'ONNX [0, 8]': { data: new BigInt64Array(0), dims: [0, 8], type: 'int64' },
        'nested []': [],
      })) {
        it(`gives zeros and an empty [0, R] mask: ${name}`, () => {
          for (const invalidExperts of bothModes) {
            expectByHand(
              topkIdx,
              8,
              twoNodes,
              { ranks: [0, 0, 0, 0], rdma: [0, 0], experts: [0, 0, 0, 0, 0, 0, 0, 0], mask: [] },
              { invalidExperts },
            );
          }
        });
      }
    });

    describe('numTopk = 0', () => {
      for (const [name, topkIdx] of Object.entries<TopkIdxInput>({
        'int64 [3, 0]': { data: new BigInt64Array(0), shape: [3, 0] },
        'strided uint8 [3, 0]': { data: new Uint8Array(3), shape: [3, 0], strides: [1, 1] },
        'nested [[], [], []]': [[], [], []],
      })) {
        it(`gives zeros: ${name}`, () => {
          for (const invalidExperts of bothModes) {
            expectByHand(
              topkIdx,
              8,
              twoNodes,
              { ranks: [0, 0, 0, 0], rdma: [0, 0], experts: [0, 0, 0, 0, 0, 0, 0, 0], mask: ['0000', '0000', '0000'] },
              { invalidExperts },
            );
          }
        });
      }
    });

    describe('more than 2^31 elements', () => {
      // With strides of zero, a single element is enough for a request of any size.
      for (const shape of [
        [2 ** 31, 1],
        [2 ** 30, 2],
        [1, 2 ** 31],
        [2 ** 16, 2 ** 15],
        [2 ** 20, 2 ** 40],
      ]) {
        it(`are a clear error before anything runs: [${shape}]`, () => {
          const started = Date.now();
          for (const invalidExperts of bothModes) {
            expectFailure(
              { data: BigInt64Array.of(9n), shape, strides: [0, 0] },
              1,
              8,
              twoNodes,
              { code: 'TOO_LARGE' },
              { invalidExperts },
            );
          }
          assert.isBelow(Date.now() - started, 1000);
        });
      }
    });

    describe('id type', () => {
      for (const type of idTypeNames) {
        it(`${type} is accepted at run time`, () => {
          expectByHand(
            storageOf(type, [
              [0, 1],
              [2, 7],
              [5, 4],
              [6, 3],
              [7, 0],
            ]),
            8,
            twoNodes,
            {
              ranks: [2, 2, 1, 3],
              rdma: [4, 4],
              experts: [2, 1, 1, 1, 1, 1, 1, 2],
              mask: ['1000', '0101', '0010', '0101', '1001'],
            },
          );
        });

        it(`${type}: its largest ids are experts if there are that many experts`, () => {
          const largest = { int8: 127, uint8: 255, int16: 32767, uint16: 65535 }[type as string] ?? 69999;
          const layout = device.getDispatchLayout(
            storageOf(type, [[largest], [0]]),
            70000,
            { numRanks: 2 },
            { invalidExperts: 'throw' },
          );
          assert.strictEqual(layout.numTokensPerExpert[largest], 1);
          assert.strictEqual(
            layout.numTokensPerExpert.reduce((sum, count) => sum + count),
            2,
          );
          assert.deepStrictEqual([...layout.isTokenInRank], largest >= 35000 ? [0, 1, 1, 0] : [1, 0, 1, 0]);
        });
      }
    });

    describe('event flags misused', () => {
      // A variant of a device sets the flags itself.
      if (device.isVariant) return;

      const topkIdx = int64([[0, 1]]);

      for (const invalidExperts of bothModes) {
        it(`are a clear error (${invalidExperts})`, () => {
          const event = device.getDispatchLayout(topkIdx, 8, twoNodes, { asyncFinish: true }).event;
          const unrecorded = device.getDispatchLayout(topkIdx, 8, twoNodes).event;
          const code = 'EVENT_FLAGS';
          const fail = (layoutOptions: LayoutOptions) =>
            expectFailure(topkIdx, 1, 8, twoNodes, { code }, { ...layoutOptions, invalidExperts });
          fail({ allocateOnCommStream: true });
          fail({ allocateOnCommStream: true, asyncFinish: true });
          fail({ allocateOnCommStream: true, previousEvent: event });
          fail({ allocateOnCommStream: true, asyncFinish: true, previousEvent: unrecorded });
          fail({ previousEvent: {} } as unknown as LayoutOptions);
        });
      }

      it('do not change the outputs if they are used correctly', async () => {
        const expected = { ranks: [1, 0, 0, 0], rdma: [1, 0], experts: [1, 1, 0, 0, 0, 0, 0, 0], mask: ['1000'] };
        const previousEvent = device.getDispatchLayout(topkIdx, 8, twoNodes, { asyncFinish: true }).event;
        expectByHand(topkIdx, 8, twoNodes, expected, { previousEvent });
        const layout = device.getDispatchLayout(topkIdx, 8, twoNodes, {
          previousEvent,
          asyncFinish: true,
          allocateOnCommStream: true,
        });
        assert.isTrue(layout.event.recorded);
        await layout.event.wait();
        layout.event.currentStreamWait();
        assert.isTrue(layout.event.done);
        assert.deepStrictEqual([...layout.numTokensPerRank], expected.ranks);
      });

      it('give a recorded event only with asyncFinish', () => {
        assert.isFalse(device.getDispatchLayout(topkIdx, 8, twoNodes).event.recorded);
        assert.isTrue(device.getDispatchLayout(topkIdx, 8, twoNodes, { asyncFinish: true }).event.recorded);
      });
    });

    describe('non-contiguous rows', () => {
      // In every form, the rows are [0, 1], [2, 7] and [5, 4]. The number 99 is padding, which must not be read.
      const expected = {
        ranks: [1, 1, 1, 1],
        rdma: [2, 2],
        experts: [1, 1, 1, 0, 1, 1, 0, 1],
        mask: ['1000', '0101', '0010'],
      };
      const forms = {
        'row stride': { data: [0, 1, 99, 2, 7, 99, 5, 4], strides: [3, 1] },
        'row stride and offset': { data: [99, 99, 0, 1, 99, 99, 2, 7, 99, 99, 5, 4, 99], strides: [4, 1], offset: 2 },
        'slot stride': { data: [0, 99, 1, 2, 99, 7, 5, 99, 4], strides: [3, 2] },
        'rows backwards': { data: [5, 4, 2, 7, 0, 1], strides: [-2, 1], offset: 4 },
        'slots backwards': { data: [1, 0, 7, 2, 4, 5], strides: [2, -1], offset: 1 },
        'all backwards': { data: [99, 4, 5, 7, 2, 1, 0], strides: [-2, -1], offset: 6 },
        'Fortran strides': { data: [0, 2, 5, 1, 7, 4], strides: [1, 3] },
        fortranOrder: { data: [0, 2, 5, 1, 7, 4], fortranOrder: true },
        'offset by one element': { data: [99, 0, 1, 99, 2, 7, 99, 5, 4], strides: [3, 1], offset: 1 },
      };
      for (const [name, { data, ...layoutOfData }] of Object.entries(forms)) {
        for (const type of idTypeNames) {
          it(`${name}, ${type}`, () => {
            const topkIdx = { ...storageOf(type, [data]), ...layoutOfData, shape: [3, 2] };
            for (const invalidExperts of bothModes) expectByHand(topkIdx, 8, twoNodes, expected, { invalidExperts });
          });
        }
      }

      it('a token stride of zero repeats a row', () => {
        const topkIdx = { data: Int32Array.of(99, 3, 6), shape: [3, 2], strides: [0, 1], offset: 1 };
        expectByHand(topkIdx, 8, twoNodes, {
          ranks: [0, 3, 0, 3],
          rdma: [3, 3],
          experts: [0, 0, 0, 3, 0, 0, 3, 0],
          mask: ['0101', '0101', '0101'],
        });
      });

      it('a slot stride of zero repeats a slot', () => {
        const topkIdx = { data: BigInt64Array.of(3n, 6n), shape: [2, 3], strides: [1, 0] };
        expectByHand(topkIdx, 8, twoNodes, {
          ranks: [0, 1, 0, 1],
          rdma: [1, 1],
          experts: [0, 0, 0, 3, 0, 0, 3, 0],
          mask: ['0100', '0001'],
        });
      });

      it('rows may overlap', () => {
        const topkIdx = { data: Uint8Array.of(0, 3, 6, 7), shape: [3, 2], strides: [1, 1] };
        expectByHand(topkIdx, 8, twoNodes, {
          ranks: [1, 2, 0, 2],
          rdma: [2, 2],
          experts: [1, 0, 0, 2, 0, 0, 2, 1],
          mask: ['1100', '0101', '0001'],
        });
      });

      it('an invalid id in them is named by token and slot', () => {
        const topkIdx = {
          data: Int16Array.of(5, 4, 99, 2, 70, 99, 0, 1, 99),
          shape: [3, 2],
          strides: [-3, 1],
          offset: 6,
        };
        expectFailure(topkIdx, 3, 8, twoNodes, { code: 'INVALID_EXPERT', token: 1, slot: 1, value: 70 });
      });
    });
  });
}
