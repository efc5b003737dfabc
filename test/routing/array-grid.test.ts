/** Grids of arrays: any strides, axes, layers and sizes of pieces give the same ids. */
import { assert } from 'chai';
import fc from 'fast-check';
import { gridOfArrays } from '../../ts/routing/array-grid.ts';
import { sourceOfBytes } from '../../ts/routing/byte-source.ts';
import type { Axis, StoredArray } from '../../ts/routing/contents.ts';
import { type IdType, idTypes } from '../../ts/values/id-types.ts';
import { idsOf, refusal } from './reading.ts';

/** An array of these strides in which the element at [layer, token, slot] is `valueOf` of them. */
function stored(
  idType: IdType,
  shape: readonly number[],
  strides: readonly number[],
  valueAt: (index: readonly number[]) => number,
): StoredArray {
  const reach = shape.reduce((sum, length, axis) => sum + Math.max(0, length - 1) * Math.abs(strides[axis]), 0);
  const first = shape.reduce((sum, length, axis) => sum + Math.max(0, -(length - 1) * strides[axis]), 0);
  const { array, bytes } = idTypes[idType];
  const elements = new array(reach + 1);
  const write = (index: number[]): void => {
    if (index.length < shape.length) {
      for (let at = 0; at < shape[index.length]; at++) write([...index, at]);
      return;
    }
    const place = first + index.reduce((sum, at, axis) => sum + at * strides[axis], 0);
    (elements as { [place: number]: number | bigint })[place] = bytes === 8 ? BigInt(valueAt(index)) : valueAt(index);
  };
  write([]);
  const source = sourceOfBytes(new Uint8Array(elements.buffer), 'file');
  return { name: '', type: idType, littleEndian: true, shape, strides, source, position: first * bytes };
}

/** Strides of an array in which the axes lie in any order in memory, and with gaps. */
function stridesOf(shape: readonly number[], order: readonly number[], gap: number, isBackward: boolean): number[] {
  const strides = new Array<number>(shape.length);
  let size = 1;
  for (const axis of order) {
    strides[axis] = isBackward ? -size : size;
    size = size * shape[axis] + gap;
  }
  return strides;
}

const axesOfShape: readonly (readonly Axis[])[] = [
  ['tokens', 'topk'],
  ['layers', 'tokens', 'topk'],
  ['tokens', 'layers', 'topk'],
  ['tokens', 'tokens', 'layers', 'topk'],
  ['tokens', 'layers', 'tokens', 'topk'],
  ['layers', 'tokens', 'tokens', 'topk'],
];

describe('routing: grids of arrays', function () {
  this.timeout(60_000);

  it('have the same ids whatever the axes, their order in memory, gaps and the size of pieces are', () =>
    fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...axesOfShape),
        fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 4, maxLength: 4 }),
        fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
        fc.nat(3),
        fc.boolean(),
        fc.integer({ min: 1, max: 9 }),
        fc.constantFrom<IdType>('int64', 'int16', 'uint8'),
        async (axes, lengths, order, gap, isBackward, tokensPerPiece, idType) => {
          const shape = lengths.slice(0, axes.length);
          const inMemory = order.filter((axis) => axis < axes.length);
          const valueAt = (index: readonly number[]): number =>
            index.reduce((value, at, axis) => value * shape[axis] + at, 0) % 100;
          const array = stored(idType, shape, stridesOf(shape, inMemory, gap, isBackward), valueAt);
          const grid = gridOfArrays([{ array, axes }]);
          const expected = new Map<number, number[][]>();
          const visit = (index: readonly number[]): void => {
            if (index.length < shape.length - 1) {
              for (let at = 0; at < shape[index.length]; at++) visit([...index, at]);
              return;
            }
            const layer = index[axes.indexOf('layers')] ?? 0;
            const row = Array.from({ length: shape[index.length] }, (_, slot) => valueAt([...index, slot]));
            expected.set(layer, [...(expected.get(layer) ?? []), row]);
          };
          visit([]);
          const layers = [...expected.keys()].sort((left, right) => left - right);
          assert.deepEqual(
            await idsOf(grid, tokensPerPiece),
            layers.map((layer) => expected.get(layer)),
          );
        },
      ),
      { numRuns: 300, seed: 16 },
    ));

  it('read only the chosen layers', async () => {
    const array = stored('int32', [7, 4, 2], [8, 2, 1], ([token, layer, slot]) => 100 * layer + 10 * token + slot);
    const grid = gridOfArrays([{ array, axes: ['tokens', 'layers', 'topk'] }]);
    for (const chosen of [[1], [0, 3], [0, 1, 3], [0, 1, 2, 3]]) {
      const seen: string[] = [];
      for await (const { layer, firstToken, numTokens, ids } of grid.pieces(chosen, new Int32Array(6))) {
        for (let token = 0; token < numTokens; token++) seen.push(`${layer} ${firstToken + token} ${ids[2 * token]}`);
      }
      const expected = chosen.flatMap((layer) =>
        Array.from({ length: 7 }, (_, token) => `${layer} ${token} ${100 * layer + 10 * token}`),
      );
      assert.sameMembers(seen, expected);
    }
  });

  it('read arrays that are far larger than the memory for a piece, in any order', async () => {
    const [numTokens, numLayers] = [300_000, 5];
    for (const order of [
      [2, 0, 1],
      [2, 1, 0],
      [0, 1, 2],
    ]) {
      const shape = [numTokens, numLayers, 2];
      const valueAt = ([token, layer, slot]: readonly number[]): number => (token * 7 + layer * 3 + slot) % 30_000;
      const array = stored('int16', shape, stridesOf(shape, order, 0, false), valueAt);
      const grid = gridOfArrays([{ array, axes: ['tokens', 'layers', 'topk'] }]);
      let numSeen = 0;
      for await (const { layer, firstToken, numTokens: count, ids } of grid.pieces([0, 2, 4], new Int16Array(20_000))) {
        for (let token = 0; token < count; token++) {
          const isRight = ids[2 * token + 1] === valueAt([firstToken + token, layer, 1]);
          if (!isRight) assert.fail(`layer ${layer}, token ${firstToken + token}`);
        }
        numSeen += count;
      }
      assert.strictEqual(numSeen, 3 * numTokens);
    }
  });

  it('of several arrays put tokens and layers together, and fill what is missing', async () => {
    const rows = (idType: IdType, numTokens: number, first: number): StoredArray =>
      stored(idType, [numTokens, 2], [2, 1], ([token, slot]) => first + 2 * token + slot);
    const axes: readonly Axis[] = ['tokens', 'topk'];
    const grid = gridOfArrays([
      { array: rows('uint8', 2, 10), axes, layers: [7] },
      { array: rows('uint8', 1, 20), axes, layers: [3] },
      { array: rows('int16', 1, 30), axes, layers: [7] },
    ]);
    assert.deepEqual(grid.layers, [3, 7]);
    assert.strictEqual(grid.idType, 'int16');
    assert.deepEqual(grid.tokensOfLayer, [1, 3]);
    assert.deepEqual(await idsOf(grid, 1), [
      [
        [20, 21],
        [-1, -1],
        [-1, -1],
      ],
      [
        [10, 11],
        [12, 13],
        [30, 31],
      ],
    ]);
    const other = stored('uint8', [1, 3], [3, 1], () => 0);
    const error = await refusal(() =>
      gridOfArrays([
        { array: other, axes },
        { array: rows('uint8', 1, 0), axes },
      ]),
    );
    assert.strictEqual(error.code, 'DAMAGED');
    assert.match(error.message, /has 2 slots for each token, and file has 3/);
  });
});
