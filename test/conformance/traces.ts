/**
 * Compares layouts of real routing of a Mixture-of-Experts model with the oracle, if the trace files are there.
 *
 * @module
 */
import { assert } from 'chai';
import { expectAnswer, expectArrays } from '../support/expect.ts';
import { idArray } from '../support/topk-storage.ts';
import type { TestDevice } from './devices.ts';
import { readTrace } from './loader.ts';
import { answer, rowsOf } from './oracle.ts';

const numExperts = 64;
const files = ['deepseek-v2-lite_law.npy', 'deepseek-v2-lite_intent.npy'];

interface Trace {
  readonly data: Uint8Array;
  readonly numTokens: number;
  readonly numTopk: number;
}

/** The `uint8 [layers, tokens, topk]` of an npy file of format version 1.0 in C order. */
function parseTrace(bytes: Uint8Array): Trace {
  const headerEnd = 10 + bytes[8] + 256 * bytes[9];
  const header = String.fromCharCode(...bytes.subarray(10, headerEnd));
  const [, , numTokens, numTopk] = header.match(/'shape': \((\d+), (\d+), (\d+)\)/)?.map(Number) ?? [];
  assert.include(header, "'descr': '|u1', 'fortran_order': False");
  return { data: bytes.subarray(headerEnd), numTokens, numTopk };
}

/** Declares the tests of the traces on one device. */
export function traces(device: TestDevice): void {
  describe('real traces', () => {
    for (const file of files) {
      const bytes = readTrace(file);
      if (bytes === null) {
        it.skip(`${file} is not here`);
        continue;
      }
      const trace = parseTrace(bytes);
      const shape = [trace.numTokens, trace.numTopk] as const;
      const layerLength = trace.numTokens * trace.numTopk;
      for (const layer of [0, 12, 25]) {
        for (const numRanks of [8, 32]) {
          it(`${file}, layer ${layer}, ${numRanks} ranks`, () => {
            const data = trace.data.subarray(layer * layerLength, (layer + 1) * layerLength);
            const expected = answer({ rows: rowsOf({ data, shape }), numExperts, numRanks });
            // The layer is passed by itself, as a part of the whole file, and as the int64 ids that the router gave.
            for (const topkIdx of [
              { data, shape },
              { data: trace.data, shape, strides: [trace.numTopk, 1], offset: layer * layerLength },
              { data: idArray('int64', data), shape },
            ]) {
              expectAnswer(() => device.getDispatchLayout(topkIdx, numExperts, { numRanks }), expected);
            }
          });
        }
      }

      it(`${file}: the whole file at once`, () => {
        const numTokens = trace.data.length / trace.numTopk;
        const topkIdx = { data: trace.data, shape: [numTokens, trace.numTopk] as const };
        const layout = device.getDispatchLayout(topkIdx, numExperts, { numRanks: 8 });
        const expected = answer({ rows: rowsOf(topkIdx), numExperts, numRanks: 8 });
        if ('layout' in expected) expectArrays(layout, expected.layout);
        assert.strictEqual(
          layout.numTokensPerExpert.reduce((sum, count) => sum + count),
          trace.data.length,
        );
      });
    }
  });
}
