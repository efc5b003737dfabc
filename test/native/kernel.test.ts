/**
 * Compiles the unchanged source of the WASM kernel for this machine, with AddressSanitizer and UBSan, and with buffers
 * of exactly the sizes that `wasm/dispatch_layout.h` promises. It runs the conformance vectors, and the inputs that the
 * fuzzer found. Random layouts and orders of rows are in `test/slow`.
 */
import { readdirSync } from 'node:fs';
import { assert } from 'chai';
import { type OutputName, outputNames, rowsOf } from '../conformance/oracle.ts';
import { maskOf, storageOfVector, type Vector, type VectorFile } from '../conformance/vector-cases.ts';
import file from '../conformance/vectors.json' with { type: 'json' };
import { root } from '../support/root.ts';
import { describeNative, runNative } from './programs.ts';

const corpus = `${root}test/native/corpus`;

/** `IdType` of `wasm/dispatch_layout.h`, in order. */
const idTypes = ['int64', 'uint64', 'int32', 'uint32', 'int16', 'uint16', 'int8', 'uint8'];

/** A vector in the form that `layout_native` reads. */
function requestOf(vector: Vector): string {
  const { dtype, shape, numRanks, numRanksPerNode, numExperts, placement, mask } = vector;
  const numExpertsPerRank = Math.floor(numExperts / numRanks);
  const rankInBlocks = (expert: number) =>
    expert < numExpertsPerRank * numRanks ? Math.floor(expert / numExpertsPerRank) : -1;
  const rankOfExpert = placement ?? Array.from({ length: numExperts }, (_, expert) => rankInBlocks(expert));
  const ids = rowsOf(storageOfVector(vector)).flat();
  const sizes = [...shape, numRanks, numRanksPerNode, numExperts];
  return [mask === 'bits' ? 1 : 0, idTypes.indexOf(dtype), ...sizes, ...rankOfExpert, ...ids].join(' ');
}

/** Checks the answer of `layout_native`. The kernel skips invalid ids; where there are any, its counts do not matter. */
function checkAnswer(vector: Vector, lines: readonly string[]): void {
  const [firstInvalid, ...arrays] = lines.map((line) => line.split(' ').filter(Boolean).map(Number));
  const { expected, expectedError } = vector;
  if (expected === undefined) {
    const { token = 0, slot = 0 } = expectedError ?? assert.fail(`${vector.name} expects nothing`);
    assert.deepStrictEqual(firstInvalid, [token * vector.shape[1] + slot], vector.name);
    return;
  }
  if (vector.invalidExperts === 'throw') assert.deepStrictEqual(firstInvalid, [-1], vector.name);
  const numbersOf = (name: OutputName) =>
    name === 'isTokenInRank' ? [...maskOf(expected)] : [...(expected[name] ?? [])];
  assert.deepStrictEqual(arrays, outputNames.map(numbersOf), vector.name);
}

describeNative('the module that maps ids, compiled natively under sanitizers', ['map_test'], () => {
  it('maps random ids as a plain reference does', () => {
    assert.strictEqual(runNative('map_test', ['3000']), '3000 cases\n');
  });
});

describeNative('the WASM kernel, compiled natively under sanitizers', ['layout_native', 'replay'], () => {
  it('gives the answers of the conformance vectors', () => {
    // Requests that are refused for their shape never reach the kernel, and the program takes no empty id.
    const vectors = (file as unknown as VectorFile).vectors.filter(
      ({ emptyId, expectedError }) =>
        emptyId === undefined && (expectedError === undefined || expectedError.code === 'INVALID_EXPERT'),
    );
    assert.isAbove(vectors.length, 100);
    const lines = runNative('layout_native', [], vectors.map(requestOf).join('\n')).split('\n');
    assert.strictEqual(lines.length, 5 * vectors.length + 1);
    for (const [index, vector] of vectors.entries()) checkAnswer(vector, lines.slice(5 * index, 5 * index + 5));
  });

  it('replays what the fuzzer found', () => {
    const inputs = readdirSync(corpus).map((name) => `${corpus}/${name}`);
    assert.isAbove(inputs.length, 20);
    assert.match(runNative('replay', inputs), new RegExp(`^${inputs.length} inputs replayed`));
  });
});
