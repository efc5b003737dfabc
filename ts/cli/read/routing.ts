/**
 * Opens routing files for a command, and chooses the layers that the flags ask for.
 *
 * @module
 */
import { openRouting, type Routing } from '../../routing/index.ts';
import { fail } from '../fail.ts';
import type { IdType } from '../library.ts';

/** The routing that a command computes from. */
export interface ChosenRouting {
  readonly routing: Routing;
  /** The names of the files, as they are shown to people. */
  readonly name: string;
  /** The number of layers in the files, or `null` where they are a single matrix. */
  readonly numLayersInFile: number | null;
  /** The chosen layers, as indices of `routing.layers`. */
  readonly chosen: readonly number[];
  /** The numbers of the chosen layers, or `null` where the files are a single matrix. */
  readonly layers: readonly number[] | null;
  /** Whether what is computed has a leading axis of layers: all layers of files of several were chosen. */
  readonly hasLayerAxis: boolean;
}

/** The flags that choose what is read, and how. */
export interface RoutingFlags {
  readonly array?: string;
  readonly layer?: number | 'all';
  readonly axes?: string;
  readonly numLayers?: number;
  readonly numTopk?: number;
  readonly dtype?: IdType;
}

/** The name of a file as it is shown to people: its path, or `standard input`. */
export function displayName(path: string): string {
  return path === '-' ? 'standard input' : path;
}

/**
 * Opens routing.
 *
 * @param paths files or directories, or `-` for standard input.
 */
export async function openChosenRouting(paths: readonly string[], flags: RoutingFlags): Promise<ChosenRouting> {
  const { layer, array, axes, numLayers, numTopk, dtype } = flags;
  const sources = paths.map((path) => (path === '-' ? process.stdin : path));
  const routing = await openRouting(sources, {
    array,
    axes,
    numLayers,
    numTopk,
    idType: dtype,
    name: displayName('-'),
    waits: true,
  });
  const name = routing.files.join(', ');
  const { layers } = routing;
  const all = layers.map((_, index) => index);
  const shown = `[${routing.tokens}, ${routing.topk}]`;
  if (layers.length === 1 && !routing.axes.includes('layers')) {
    if (layer !== undefined) fail(`--layer is for routing of several layers; ${name} is ${shown}, one [tokens, topk]`);
    return { routing, name, numLayersInFile: null, chosen: all, layers: null, hasLayerAxis: false };
  }
  if (layers.length === 0) fail(`${name} has no layers; save it again, or pass --axes`);
  const chosen = typeof layer === 'number' ? [layers.indexOf(layer)] : all;
  if (chosen[0] < 0) fail(`--layer ${layer} is not in ${name}, which has ${describeLayers(layers)}`);
  return {
    routing,
    name,
    numLayersInFile: layers.length,
    chosen,
    layers: chosen.map((index) => layers[index]),
    hasLayerAxis: typeof layer !== 'number',
  };
}

function describeLayers(layers: readonly number[]): string {
  if (layers.length === 1) return `one layer, ${layers[0]}`;
  const [first] = layers;
  const last = layers[layers.length - 1];
  return last - first === layers.length - 1 ? `layers ${first} to ${last}` : `layers ${layers.join(', ')}`;
}
