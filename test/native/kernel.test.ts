/**
 * The WASM kernel's unchanged source, compiled for this machine under AddressSanitizer and UBSan, with buffers of exactly
 * the sizes that `wasm/dispatch_layout.h` promises: the conformance vectors, random layouts, and what the fuzzer found.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { rowsOf } from '../conformance/oracle.ts';
import { storageOfVector, type Vector, type VectorFile } from '../conformance/vector-cases.ts';
import file from '../conformance/vectors.json' with { type: 'json' };

const root = fileURLToPath(new URL('../..', import.meta.url));
const corpus = `${root}test/native/corpus`;

/** `IdType` of `wasm/dispatch_layout.h`, in order. */
const idTypes = ['int64', 'uint64', 'int32', 'uint32', 'int16', 'uint16', 'int8', 'uint8'];

/** What keeps the native build from being made here, or null. */
function obstacle(): string | null {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return 'its tables need the low memory of Linux on x86-64';
  const compiler = process.env.CXX ?? 'g++';
  const { error, status } = spawnSync(compiler, ['-fsyntax-only', '-x', 'c++', '-'], {
    input: '#include <simde/wasm/simd128.h>',
  });
  if (error !== undefined) return `there is no ${compiler} here`;
  return status === 0 ? null : `${compiler} finds no SIMDe. To run this, install libsimde-dev`;
}

function run(program: string, settings: readonly string[], input = ''): string {
  const { status, stdout, stderr } = spawnSync(`${root}build/native/${program}`, settings, { input, encoding: 'utf8' });
  assert.strictEqual(status, 0, stdout + stderr);
  return stdout;
}

/** A vector as `layout_native` reads it. */
function requestOf(vector: Vector): string {
  const { dtype, shape, numRanks, numRanksPerNode, numExperts, placement } = vector;
  const numExpertsPerRank = Math.floor(numExperts / numRanks);
  const rankInBlocks = (expert: number) =>
    expert < numExpertsPerRank * numRanks ? Math.floor(expert / numExpertsPerRank) : -1;
  const rankOfExpert = placement ?? Array.from({ length: numExperts }, (_, expert) => rankInBlocks(expert));
  const ids = rowsOf(storageOfVector(vector)).flat();
  return [idTypes.indexOf(dtype), ...shape, numRanks, numRanksPerNode, numExperts, ...rankOfExpert, ...ids].join(' ');
}

/** What `layout_native` must answer. Refused ids are skipped by the kernel, and their counts are of no interest. */
function checkAnswer(vector: Vector, lines: readonly string[]): void {
  const [firstInvalid, ...arrays] = lines.map((line) => line.split(' ').filter(Boolean).map(Number));
  const { expected, expectedError } = vector;
  if (expected === undefined) {
    const { token = 0, slot = 0 } = expectedError ?? assert.fail(`${vector.name} expects nothing`);
    assert.deepStrictEqual(firstInvalid, [token * vector.shape[1] + slot], vector.name);
    return;
  }
  if (vector.invalidExperts === 'throw') assert.deepStrictEqual(firstInvalid, [-1], vector.name);
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = expected;
  const mask = [...isTokenInRank.join('')].map(Number);
  assert.deepStrictEqual(
    arrays,
    [[...numTokensPerRank], [...(numTokensPerRdmaRank ?? [])], [...numTokensPerExpert], mask],
    vector.name,
  );
}

describe('the WASM kernel, compiled natively under sanitizers', function () {
  const reason = obstacle();
  if (reason !== null) {
    it.skip(`not available here, because ${reason}`);
    return;
  }
  this.timeout(300_000);

  before(() => {
    const programs = ['layout_test', 'layout_test_fast', 'layout_native', 'replay'];
    execFileSync(`${root}test/native/build.sh`, programs, { stdio: ['ignore', 'ignore', 'inherit'] });
  });

  it('gives the answers of the conformance vectors', () => {
    // Requests that are refused for their shape never reach the kernel
    const vectors = (file as unknown as VectorFile).vectors.filter(
      ({ expectedError }) => expectedError === undefined || expectedError.code === 'INVALID_EXPERT',
    );
    assert.isAbove(vectors.length, 100);
    const lines = run('layout_native', [], vectors.map(requestOf).join('\n')).split('\n');
    assert.strictEqual(lines.length, 5 * vectors.length + 1);
    for (const [index, vector] of vectors.entries()) checkAnswer(vector, lines.slice(5 * index, 5 * index + 5));
  });

  for (const [program, seed, numCases] of [
    ['layout_test', 1, 4000],
    ['layout_test_fast', 2, 10000],
  ] as const) {
    it(`${program}: ${numCases} random layouts`, () => {
      assert.match(
        run(program, [String(seed), String(numCases)]),
        new RegExp(`^${numCases} layouts equal the reference`),
      );
    });
  }

  it('replays what the fuzzer found', () => {
    const inputs = readdirSync(corpus).map((name) => `${corpus}/${name}`);
    assert.isAbove(inputs.length, 20);
    assert.match(run('replay', inputs), new RegExp(`^${inputs.length} inputs replayed`));
  });
});
