/** Axes that no format says: decided by evidence, or refused with both readings. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { decideAxes, formatAxes } from '../../ts/routing/axes.ts';
import { sourceOfBytes } from '../../ts/routing/byte-source.ts';
import type { StoredArray } from '../../ts/routing/contents.ts';
import { openNpy } from '../../ts/routing/formats/npy.ts';
import { denseStrides } from '../../ts/values/shape.ts';
import { Random } from '../support/random.ts';
import { refusal } from './reading.ts';

function arrayOf(shape: readonly number[], idAt: (index: number[]) => number): StoredArray {
  const strides = denseStrides(shape);
  const ids = Int32Array.from({ length: shape.reduce((product, length) => product * length, 1) }, (_, position) =>
    idAt(shape.map((length, axis) => Math.floor(position / strides[axis]) % length)),
  );
  const source = sourceOfBytes(new Uint8Array(ids.buffer), 'file');
  return { name: '', type: 'int32', littleEndian: true, shape, strides, source, position: 0 };
}

const axesOf = async (array: StoredArray, chosen?: string): Promise<string> =>
  formatAxes((await decideAxes(array, chosen)).axes);

describe('routing: axes', () => {
  const random = new Random(16);
  const uniform = (): number => random.below(64);

  it('are those of the option, if they fit', async () => {
    const array = arrayOf([3, 4, 2], uniform);
    for (const axes of ['layers,tokens,topk', 'tokens,layers,topk', 'tokens,tokens,topk', 'tokens, topk, layers']) {
      assert.strictEqual(await axesOf(array, axes), axes.replaceAll(' ', ''));
    }
    for (const axes of ['tokens,topk', 'layers,layers,topk', 'tokens,layers,tokens', 'experts,tokens,topk', '']) {
      const error = await refusal(() => decideAxes(array, axes));
      assert.strictEqual(error.code, 'CHOICE', axes);
      assert.include(error.message, `axes: '${axes}'`);
    }
  });

  it('follow from the number of dimensions and from batches of one', async () => {
    assert.strictEqual(await axesOf(arrayOf([5, 2], uniform)), 'tokens,topk');
    assert.strictEqual(await axesOf(arrayOf([1, 128, 8], uniform)), 'tokens,tokens,topk');
    assert.strictEqual(await axesOf(arrayOf([1, 300, 4, 2], uniform)), 'tokens,tokens,layers,topk');
  });

  it('follow from the name of captures', async () => {
    const capture = { ...arrayOf([5, 3, 4], uniform), name: 'routed_experts' };
    assert.deepEqual(await decideAxes(capture, undefined), {
      axes: ['tokens', 'layers', 'topk'],
      because: 'arrays named routed_experts have tokens first',
    });
    assert.strictEqual(await axesOf(capture, 'layers,tokens,topk'), 'layers,tokens,topk');
  });

  it('follow from a dimension that is too long for layers, or is empty', async () => {
    assert.strictEqual(await axesOf(arrayOf([6, 300, 4], uniform)), 'layers,tokens,topk');
    assert.strictEqual(await axesOf(arrayOf([300, 6, 4], uniform)), 'tokens,layers,topk');
    assert.strictEqual(await axesOf(arrayOf([0, 3, 4], uniform)), 'tokens,layers,topk');
    const { because } = await decideAxes(arrayOf([6, 300, 4], uniform), undefined);
    assert.strictEqual(because, 'the first dimension is that of the layers: no model has 300 of them');
  });

  it('follow from the loads, of which those of layers differ', async () => {
    // Dense layers hold zeros, and each other layer prefers experts of its own.
    const idOf = (layer: number): number => (layer < 3 ? 0 : (layer * 11 + random.below(1 + random.below(64))) % 64);
    assert.strictEqual(await axesOf(arrayOf([64, 6, 4], ([, layer]) => idOf(layer))), 'tokens,layers,topk');
    assert.strictEqual(await axesOf(arrayOf([6, 64, 4], ([layer]) => idOf(layer))), 'layers,tokens,topk');
    const batch = arrayOf([4, 16, 6, 4], ([, , layer]) => idOf(layer));
    assert.strictEqual(await axesOf(batch), 'tokens,tokens,layers,topk');
    // Rows of padding are the same in all layers, and must not count.
    const padded = arrayOf([64, 6, 4], ([token, layer]) => (token > 48 ? 0 : idOf(layer)));
    assert.strictEqual(await axesOf(padded), 'tokens,layers,topk');
  });

  it('are refused with both readings where nothing tells', async () => {
    const error = await refusal(() => decideAxes(arrayOf([24, 20, 4], uniform), undefined));
    assert.strictEqual(error.code, 'AMBIGUOUS');
    assert.match(
      error.message,
      /^file is \[24, 20, 4\], and nothing .*; say it with axes: 'layers,tokens,topk' \(24 layers of 20 tokens\) or axes: 'tokens,layers,topk' \(20 layers of 24 tokens\)$/,
    );
    assert.strictEqual((await refusal(() => decideAxes(arrayOf([300, 400, 2], uniform), undefined))).code, 'AMBIGUOUS');
  });

  it('of real routing are never read wrong, and rarely refused (skipped if the file is missing)', async function () {
    const path = fileURLToPath(new URL('../../../shared/traces/deepseek-v2-lite_law.npy', import.meta.url));
    if (!existsSync(path)) this.skip();
    const whole = await openNpy(sourceOfBytes(readFileSync(path), 'trace'), '');
    const [layerStride, tokenStride] = whole.strides;
    for (const [numLayers, numTokens, mayRefuse] of [
      [26, 64, false],
      [26, 16, false],
      [4, 16, true],
      [2, 8, true],
    ] as const) {
      for (let first = 0; first < 8000; first += 400) {
        const array = {
          ...whole,
          shape: [numTokens, numLayers, 6],
          strides: [tokenStride, layerStride, 1],
          position: whole.position + first * 6,
        };
        const found = await decideAxes(array, undefined).then(
          ({ axes }) => formatAxes(axes),
          () => 'refused',
        );
        if (!(mayRefuse && found === 'refused')) assert.strictEqual(found, 'tokens,layers,topk', `${numLayers} layers`);
      }
    }
  });
});
