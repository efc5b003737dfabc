/**
 * Properties, checked by fast-check: for random requests of every kind, a device does what the oracle says. A failure
 * prints the request, and the seed and path that repeat it. `DISPATCH_LAYOUT_TEST_RUNS` multiplies the number of runs.
 *
 * @module
 */
import { assert } from 'chai';
import type { TopkIdxInput } from 'dispatch-layout';
import fc from 'fast-check';
import { expectAnswer, expectArrays } from '../support/expect.ts';
import { expectUntouched, isUntouched, markedArrays } from '../support/marked-arrays.ts';
import { type IdType, idArray, idRange } from '../support/topk-storage.ts';
import type { TestDevice } from './devices.ts';
import { answer, outputs, rowsOf } from './oracle.ts';
import { caseArbitrary, requestOf, runs } from './random-requests.ts';

/** A small request, of which fast-check can shrink every id. */
const smallArbitrary = fc
  .record({
    type: fc.constantFrom<IdType>('int64', 'int32', 'int16', 'int8'),
    numRanks: fc.integer({ min: 1, max: 10 }),
    perRank: fc.integer({ min: 1, max: 4 }),
    numTopk: fc.integer({ min: 0, max: 5 }),
    strict: fc.boolean(),
  })
  .chain((fixed) => {
    const valid = fc.integer({ min: -1, max: Math.min(fixed.numRanks * fixed.perRank, 128) - 1 }).map(BigInt);
    const [min, max] = idRange[fixed.type];
    const id = fc.oneof({ weight: 60, arbitrary: valid }, { weight: 1, arbitrary: fc.bigInt({ min, max }) });
    const row = fc.array(id, { minLength: fixed.numTopk, maxLength: fixed.numTopk });
    return fc.record({ fixed: fc.constant(fixed), rows: fc.array(row, { maxLength: 40 }) });
  });

/** Declares the properties on one device. */
export function properties(device: TestDevice): void {
  describe('properties', () => {
    it('small requests', () => {
      const property = fc.property(smallArbitrary, ({ fixed, rows }) => {
        const { type, numRanks, perRank, numTopk, strict } = fixed;
        const invalidExperts = strict ? 'throw' : 'ignore';
        const numExperts = numRanks * perRank;
        const group = { numRanks, numRanksPerNode: numRanks };
        const topkIdx = { data: idArray(type, rows.flat()), shape: [rows.length, numTopk] as const };
        expectAnswer(
          () => device.getDispatchLayout(topkIdx, numExperts, group, { invalidExperts }),
          answer({ ...group, rows, numExperts, invalidExperts }),
        );
        // The same ids are passed as nested arrays, of numbers where these are exact and of bigints elsewhere.
        const exact = rows.flat().every((id) => Number.isSafeInteger(Number(id)));
        const nested = exact ? rows.map((row) => row.map(Number)) : rows;
        expectAnswer(
          () => device.getDispatchLayout(nested, numExperts, group, { invalidExperts }),
          answer({ ...group, rows, numExperts, invalidExperts }),
        );
      });
      fc.assert(property, runs(300));
    });

    it('requests of every kind, into new arrays', () => {
      const property = fc.property(caseArbitrary, (parameters) => {
        const { topkIdx, numExperts, group, options, expected } = requestOf(parameters);
        expectAnswer(() => device.getDispatchLayout(topkIdx, numExperts, group, options), expected);
      });
      fc.assert(property, runs(1500));
    });

    it('requests of every kind, without the mask', () => {
      const property = fc.property(caseArbitrary, fc.boolean(), (parameters, reused) => {
        const { topkIdx, numExperts, group, options, expected } = requestOf(parameters);
        const size = { ...group, numTokens: topkIdx.shape[0], numExperts };
        const out = { ...markedArrays(size), isTokenInRank: null };
        const run = () =>
          device.getDispatchLayout(topkIdx, numExperts, group, { ...options, mask: 'none', ...(reused && { out }) });
        if ('error' in expected) {
          expectAnswer(run, expected);
          if (reused) expectUntouched(out);
        } else {
          expectArrays(run(), { ...expected.layout, isTokenInRank: null });
        }
      });
      fc.assert(property, runs(500));
    });

    it('requests of several axes, which are read as tokens', () => {
      const axes = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 2, maxLength: 4 });
      // There are gaps between elements, but with these strides the axes can still be read as one
      const gap = fc.constantFrom(null, 0, 3);
      const property = fc.property(caseArbitrary, axes, gap, (parameters, leading, spare) => {
        const numTokens = leading.reduce((product, length) => product * length, 1);
        const request = requestOf({ ...parameters, numTokens, pattern: 'none', numTopk: parameters.numTopk % 9 });
        const [, numTopk] = request.topkIdx.shape;
        const shape = [...leading, numTopk];
        const { data } = request.topkIdx;
        let input: TopkIdxInput = { data, shape };
        if (spare !== null) {
          const width = numTopk + spare;
          const spaced = new (data.constructor as typeof Int32Array)(numTokens * width);
          for (let token = 0; token < numTokens; token++) {
            spaced.set(data.subarray(token * numTopk, (token + 1) * numTopk) as Int32Array, token * width);
          }
          const strides = leading.map((_, axis) => leading.slice(axis + 1).reduce((a, b) => a * b, width));
          input = { data: spaced, shape, strides: [...strides, 1] };
        }
        const { numExperts, group, options, expected } = request;
        expectAnswer(() => device.getDispatchLayout(input, numExperts, group, options), expected);
      });
      fc.assert(property, runs(300));
    });

    it('requests of every kind, into arrays of the caller, which an error leaves untouched', () => {
      const slack = fc.constantFrom(0, 0, 1, 64);
      // Pages that are not cross-origin isolated have no shared memory.
      const isShared = typeof SharedArrayBuffer === 'undefined' ? fc.constant(false) : fc.boolean();
      const property = fc.property(caseArbitrary, slack, isShared, (parameters, extra, shared) => {
        const { topkIdx, numExperts, group, options, expected } = requestOf(parameters);
        const [numTokens] = topkIdx.shape;
        const size = { ...group, numTokens, numExperts, mask: options.mask };
        const maskLength = outputs.isTokenInRank.lengthOf(size);
        const out = markedArrays(size, {
          extraMask: extra,
          allocate: (bytes) => (shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes)),
        });
        const run = () => device.getDispatchLayout(topkIdx, numExperts, group, { ...options, out });
        expectAnswer(run, expected);
        if ('layout' in expected) {
          expectArrays({ ...out, isTokenInRank: out.isTokenInRank.subarray(0, maskLength) }, expected.layout);
          assert.isTrue(isUntouched(out.isTokenInRank.subarray(maskLength)), 'behind the mask');
        } else {
          expectUntouched(out);
        }
      });
      fc.assert(property, runs(800));
    });

    it('requests of many tokens', () => {
      const many = caseArbitrary.map((parameters) => ({
        ...parameters,
        numTokens: parameters.numTokens * 23,
        numTopk: parameters.numTopk % 11,
        numRanks: parameters.numRanks % 300 || 1,
        shares: { ...parameters.shares, hostile: parameters.shares.hostile > 0.04 ? 0.00005 : 0 },
      }));
      const property = fc.property(many, fc.boolean(), (parameters, reused) => {
        const { topkIdx, numExperts, group, options, expected } = requestOf(parameters);
        const out = markedArrays({ ...group, numTokens: topkIdx.shape[0], numExperts, mask: options.mask });
        const all = reused ? { ...options, out } : options;
        expectAnswer(() => device.getDispatchLayout(topkIdx, numExperts, group, all), expected);
        if ('error' in expected) expectUntouched(out);
      });
      fc.assert(property, runs(120));
    });

    it('a sequence of requests on one group', () => {
      const step = fc.record({ parameters: caseArbitrary, perRank: fc.integer({ min: 1, max: 5 }) });
      const property = fc.property(
        fc.constantFrom(3, 8, 16, 64, 80, 130),
        fc.array(step, { maxLength: 6 }),
        (numRanks, steps) => {
          const group = device.createGroup({ numRanks, numRanksPerNode: numRanks });
          for (const { parameters, perRank } of steps) {
            const { topkIdx, numExperts, options } = requestOf({
              ...parameters,
              numRanks,
              nodes: 'one',
              experts: { perRank },
            });
            const expected = answer({
              rows: rowsOf(topkIdx),
              numExperts,
              numRanks,
              numRanksPerNode: numRanks,
              ...options,
            });
            expectAnswer(() => group.getDispatchLayout(topkIdx, numExperts, options), expected);
          }
        },
      );
      fc.assert(property, runs(150));
    });
  });
}
