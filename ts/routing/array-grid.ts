/**
 * A grid of ids that lie in arrays: one array with all of them, or many that follow one another by tokens or by layers.
 *
 * @module
 */
import { type IntegerArray, idTypes } from '../values/id-types.ts';
import { sizeOf } from '../values/shape.ts';
import { concatenated } from './concatenate.ts';
import type { Axis, GridPiece, IdGrid, StoredArray } from './contents.ts';
import { type Dimension, Gatherer, scratchBytes } from './gather.ts';
import { refuse } from './routing-error.ts';

/** An array with a part of the ids. */
export interface ArrayPart {
  readonly array: StoredArray;
  /** What each of its dimensions stands for. `topk` stands once, `layers` at most once, `tokens` any number of times. */
  readonly axes: readonly Axis[];
  /**
   * The numbers, in the model, of the layers that it has: one for each index of its axis of layers, or one if it has no
   * such axis. Default: 0, 1, 2, ….
   */
  readonly layers?: readonly number[];
}

/**
 * Limits far above what any model has. An array of no elements can claim any shape, and memory is allocated for each
 * layer of each array and for the slots of a token. The slots of counts are experts.
 */
const limits = { layers: 10_000, slots: 2 ** 24, layersOfAllParts: 2 ** 21 };

/**
 * Puts arrays together, as {@link concatenated} does with grids.
 *
 * @param parts one or more arrays of the same number of slots.
 * @throws {@link RoutingError} `DAMAGED` if their numbers of slots differ, `TOO_LARGE` if there are too many layers or slots
 */
export function gridOfArrays(parts: readonly ArrayPart[]): IdGrid {
  const nameOf = ({ array: { name, source } }: ArrayPart): string =>
    name === '' ? source.name : `array '${name}' of ${source.name}`;
  for (const { array, axes } of parts) {
    checkLimit(array, array.shape[axes.indexOf('layers')] ?? 1, limits.layers, 'layers');
    checkLimit(array, array.shape[axes.indexOf('topk')], limits.slots, 'slots for each token');
  }
  const numLayers = parts.reduce((sum, { array, axes }) => sum + (array.shape[axes.indexOf('layers')] ?? 1), 0);
  if (numLayers > limits.layersOfAllParts) {
    const problem = `has ${parts.length} arrays with ${numLayers} layers together, and the limit is ${limits.layersOfAllParts}`;
    refuse('TOO_LARGE', problem, { file: parts[0].array.source.name, remedy: 'split the file' });
  }
  return concatenated(parts.map((part) => ({ name: nameOf(part), grid: gridOfArray(part) })));
}

/** The ids of one array. */
function gridOfArray({ array, axes, layers }: ArrayPart): IdGrid {
  const { shape, strides, type } = array;
  const layerAxis = axes.indexOf('layers');
  const slotAxis = axes.indexOf('topk');
  const numbers = layers ?? Array.from({ length: layerAxis < 0 ? 1 : shape[layerAxis] }, (_, index) => index);
  const order = numbers.map((_, index) => index).sort((left, right) => numbers[left] - numbers[right]);
  const layerStride = layerAxis < 0 ? 0 : strides[layerAxis];
  const strided: StridedIds = {
    array,
    numTopk: shape[slotAxis],
    slotStride: strides[slotAxis],
    layerStride,
    layerStarts: order.map((index) => index * layerStride),
    tokens: mergedTokens(shape, strides, axes),
  };
  return {
    idType: type,
    layers: order.map((index) => numbers[index]),
    numTokens: sizeOf(strided.tokens.map(({ length }) => length)),
    numTopk: strided.numTopk,
    pieces: (chosen, into) => piecesOf(strided, chosen, into),
  };
}

function checkLimit({ name, shape, source }: StoredArray, count: number, limit: number, what: string): void {
  if (count <= limit) return;
  const problem = `is [${shape.join(', ')}]: it has ${count} ${what}, and the limit is ${limit}`;
  const place = name === '' ? undefined : `array '${name}'`;
  refuse('TOO_LARGE', problem, {
    file: source.name,
    place,
    remedy: "if its axes are others, give them with axes: '…'",
  });
}

/** Where the ids of an array lie. */
interface StridedIds {
  readonly array: StoredArray;
  readonly numTopk: number;
  readonly slotStride: number;
  readonly layerStride: number;
  /** The element at which each layer begins. */
  readonly layerStarts: readonly number[];
  /** Its tokens, counted along these dimensions, row-major. Those that can be counted as one are one. */
  readonly tokens: readonly { readonly length: number; readonly stride: number }[];
}

/** The dimensions of tokens. Neighbours of which one goes on where the other ends are counted as one. */
function mergedTokens(
  shape: readonly number[],
  strides: readonly number[],
  axes: readonly Axis[],
): StridedIds['tokens'] {
  const merged: { length: number; stride: number }[] = [];
  axes.forEach((axis, index) => {
    const length = shape[index];
    if (axis !== 'tokens' || length === 1) return;
    const stride = strides[index];
    const outer = merged.at(-1);
    if (outer?.stride === stride * length) merged[merged.length - 1] = { length: outer.length * length, stride };
    else merged.push({ length, stride });
  });
  return merged.length === 0 ? [{ length: 1, stride: 0 }] : merged;
}

async function* piecesOf(
  ids: StridedIds,
  chosen: readonly number[],
  into: IntegerArray,
): AsyncGenerator<GridPiece, void, void> {
  const { array, numTopk, slotStride, layerStride, layerStarts, tokens } = ids;
  const run = tokens[tokens.length - 1];
  if (run.length === 0 || numTopk === 0) return;
  const gatherer = new Gatherer(array);
  const room = Math.max(1, Math.floor(into.length / numTopk));
  // Layers of which each lies behind the other are read one after the other, and layers that take turns together.
  const takeTurns = chosen.length > 1 && Math.abs(layerStride) < Math.abs(run.stride);
  for (const group of takeTurns ? [chosen] : chosen.map((layer) => [layer])) {
    const starts = group.map((layer) => layerStarts[layer]);
    const goStraight = !takeTurns && run.stride === numTopk && slotStride === 1;
    const numAtOnce = goStraight ? room : Math.min(room, numInScratch(array, run.stride, group.length * numTopk));
    const numInBlock = Math.min(numAtOnce, run.length) * group.length * numTopk;
    const block = takeTurns ? new idTypes[array.type].array(numInBlock) : null;
    let before = 0;
    for (const runStart of startsOf(tokens.slice(0, -1))) {
      for (let first = 0; first < run.length; first += numAtOnce) {
        const numTokens = Math.min(numAtOnce, run.length - first);
        const size = numTokens * numTopk;
        await gatherLayers(gatherer, runStart + first * run.stride, starts, block ?? into, [
          { length: numTokens, from: run.stride, into: numTopk },
          { length: numTopk, from: slotStride, into: 1 },
        ]);
        for (const [place, layer] of group.entries()) {
          // The arrays are of the same type, which the compiler does not know.
          if (block !== null)
            (into as Int32Array).set((block as Int32Array).subarray(place * size, (place + 1) * size));
          yield { layer, firstToken: before + first, numTokens, ids: into.subarray(0, size) };
        }
      }
      before += run.length;
    }
  }
}

/**
 * Reads the same rows of several layers, one layer behind the other. Layers at equal distances are read together.
 *
 * @param starts the element at which each layer begins.
 */
async function gatherLayers(
  gatherer: Gatherer,
  start: number,
  starts: readonly number[],
  into: IntegerArray,
  rows: readonly [Dimension, Dimension],
): Promise<void> {
  const size = rows[0].length * rows[1].length;
  const step = starts.length > 1 ? starts[1] - starts[0] : 0;
  if (starts.every((layerStart, place) => layerStart === starts[0] + place * step)) {
    await gatherer.gather(start + starts[0], [{ length: starts.length, from: step, into: size }, ...rows], into, 0);
    return;
  }
  for (const [place, layerStart] of starts.entries())
    await gatherer.gather(start + layerStart, rows, into, place * size);
}

/** How many tokens are read at once, so that they, and what lies between them, fit the scratch memory. */
function numInScratch({ type }: StoredArray, tokenStride: number, idsPerToken: number): number {
  const elementsPerToken = Math.max(idsPerToken, Math.abs(tokenStride));
  return Math.max(1, Math.floor(scratchBytes / idTypes[type].bytes / elementsPerToken));
}

/** The elements at which runs of tokens begin, for each index of the dimensions around them. */
function* startsOf(dimensions: StridedIds['tokens'], start = 0): Generator<number, void, void> {
  const [outer, ...inner] = dimensions;
  if (outer === undefined) {
    yield start;
    return;
  }
  for (let index = 0; index < outer.length; index++) yield* startsOf(inner, start + index * outer.stride);
}
