/**
 * Reads a file as routing: one `[tokens, topk]` matrix, or one for each layer.
 *
 * @module
 */

import { fail } from '../fail.ts';
import { type axesChoices, limits } from '../flags.ts';
import type { IdType, IntegerArray } from '../library.ts';
import { routingContent } from './content.ts';
import type { IntegerNdarray } from './integer-ndarray.ts';
import { readArray } from './read-array.ts';
import { displayName } from './read-bytes.ts';

/** The `[numTokens, numTopk]` view of one layer, in the form that the library takes. */
export interface TopkIdxView {
  readonly data: IntegerArray;
  readonly shape: readonly [number, number];
  readonly strides: readonly [number, number];
  readonly offset: number;
}

/** The layers of one file that are to be computed. */
export interface Routing {
  /** The name of the file, as it is shown to people. */
  readonly name: string;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly dtype: IdType;
  /** The number of layers in the file, or `null` where it is a single matrix. */
  readonly numLayersInFile: number | null;
  /** The indices of the chosen layers in the file, or `null` where it is a single matrix. */
  readonly layers: readonly number[] | null;
  /** Whether the file is `[tokens, layers, topk]`. */
  readonly tokensFirst: boolean;
  /** Whether what is computed has a leading axis of layers: all layers of a file of several were chosen. */
  readonly hasLayerAxis: boolean;
  /** One view for each chosen layer. */
  readonly views: readonly TopkIdxView[];
}

/** The flags that choose what is read. */
interface RoutingFlags {
  readonly array?: string;
  readonly layer?: number | 'all';
  readonly axes: (typeof axesChoices)[number];
}

/** @param path a file, or `-` for standard input. */
export async function readRouting(path: string, { array, layer, axes }: RoutingFlags): Promise<Routing> {
  const content = await readArray(path, routingContent, array);
  return asRouting(content, layer, axes === 'tokens,layers,topk', displayName(path));
}

/**
 * @param layer the layer to take from a 3-D array; all are taken if it is undefined.
 * @param tokensFirst whether a 3-D array is `[tokens, layers, topk]`.
 * @param name what to call the file in errors.
 */
function asRouting(
  array: IntegerNdarray,
  layer: number | 'all' | undefined,
  tokensFirst: boolean,
  name: string,
): Routing {
  const { data, dtype } = array;
  // An empty JSON list is read as routing without tokens.
  const shape = array.shape.length === 1 && array.shape[0] === 0 ? [0, 0] : array.shape;
  const shown = `[${shape.join(', ')}]`;
  if (shape.length === 2) {
    const flag = layer !== undefined ? '--layer' : tokensFirst ? '--axes tokens,layers,topk' : null;
    if (flag !== null) fail(`${flag} is for routing of several layers; ${name} is ${shown}, one [tokens, topk]`);
    const [numTokens, numTopk] = shape;
    const strides: [number, number] = [array.strides[0] ?? 0, array.strides[1] ?? 1];
    const view: TopkIdxView = { data, shape: [numTokens, numTopk], strides, offset: 0 };
    const single = { numLayersInFile: null, layers: null, hasLayerAxis: false, views: [view] };
    return { name, numTokens, numTopk, dtype, tokensFirst, ...single };
  }
  if (shape.length !== 3) fail(`${name} is ${shown}; give [tokens, topk], or [layers, tokens, topk]`);

  const [layerDimension, tokenDimension] = tokensFirst ? [1, 0] : [0, 1];
  const numLayers = shape[layerDimension];
  const numTokens = shape[tokenDimension];
  const numTopk = shape[2];
  if (numLayers > limits.layers) {
    const remedy = tokensFirst ? '' : '; if the file is [tokens, layers, topk], pass --axes tokens,layers,topk';
    fail(`${name} is ${shown}: it has ${numLayers} layers, and the limit is ${limits.layers}${remedy}`);
  }
  if (typeof layer === 'number' && layer >= numLayers) {
    fail(`--layer ${layer} is not in ${name}, which has ${countedLayers(numLayers)}`);
  }
  if (numLayers === 0) fail(`${name} is ${shown}: it has no layers`);
  const layers = typeof layer === 'number' ? [layer] : Array.from({ length: numLayers }, (_, index) => index);
  const views = layers.map((index): TopkIdxView => {
    const strides: [number, number] = [array.strides[tokenDimension], array.strides[2]];
    const offset = data.length === 0 ? 0 : index * array.strides[layerDimension];
    return { data, shape: [numTokens, numTopk], strides, offset };
  });
  const hasLayerAxis = typeof layer !== 'number';
  return { name, numTokens, numTopk, dtype, numLayersInFile: numLayers, layers, tokensFirst, hasLayerAxis, views };
}

function countedLayers(numLayers: number): string {
  return numLayers === 1 ? 'one layer, 0' : numLayers === 0 ? 'no layers' : `layers 0 to ${numLayers - 1}`;
}
