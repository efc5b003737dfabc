/**
 * Opens routing files for a command, and chooses the layers that the flags ask for.
 *
 * @module
 */
import { statSync } from 'node:fs';
import {
  type ExpertCounts,
  type OpenRoutingOptions,
  openRouting,
  openRoutingOrCounts,
  type Routing,
  type RoutingSource,
} from '../../routing/index.ts';
import { fail } from '../fail.ts';
import type { IdType } from '../library.ts';
import { startProgress } from '../progress.ts';

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

/** Counts of experts, which some commands take instead of routing. */
export interface ChosenCounts {
  readonly counts: ExpertCounts;
  /** The names of the files, as they are shown to people. */
  readonly name: string;
  readonly numLayersInFile: number;
  /** The chosen layers, as indices of `counts.layers`. */
  readonly chosen: readonly number[];
  /** The numbers of the chosen layers. */
  readonly layers: readonly number[];
}

/**
 * Opens routing.
 *
 * @param paths files or directories, or `-` for standard input.
 */
export async function openChosenRouting(paths: readonly string[], flags: RoutingFlags): Promise<ChosenRouting> {
  const open = (options: OpenRoutingOptions): Promise<Routing> => openRouting(sourcesOf(paths), options);
  return chooseRouting(await showingProgress(paths, flags, open), flags);
}

/** Opens routing, or counts of experts. */
export async function openChosenRoutingOrCounts(
  paths: readonly string[],
  flags: RoutingFlags,
): Promise<ChosenRouting | ChosenCounts> {
  const open = (options: OpenRoutingOptions): Promise<Routing | ExpertCounts> =>
    openRoutingOrCounts(sourcesOf(paths), options);
  const opened = await showingProgress(paths, flags, open);
  if (opened.kind === 'ids') return chooseRouting(opened, flags);
  const name = opened.files.join(', ');
  const chosen = chooseLayers(opened.layers, flags, name);
  return {
    counts: opened,
    name,
    numLayersInFile: opened.layers.length,
    chosen,
    layers: chosen.map((index) => opened.layers[index]),
  };
}

/** Opens files, and shows how much of them has been read meanwhile. */
async function showingProgress<Opened>(
  paths: readonly string[],
  flags: RoutingFlags,
  open: (options: OpenRoutingOptions) => Promise<Opened>,
): Promise<Opened> {
  const numBytes = paths.reduce((sum, path) => sum + sizeOf(path), 0);
  const progress = startProgress('reading', numBytes, 'bytes');
  let numRead = 0;
  const onRead = (length: number): void => {
    numRead += length;
    if (numBytes > 0) progress.update(Math.min(numRead, numBytes));
  };
  try {
    return await open({ ...optionsOf(flags), onRead });
  } finally {
    progress.stop();
  }
}

/** The bytes of a file; 0 where they are not known, as those of a pipe. */
function sizeOf(path: string): number {
  try {
    return path === '-' ? 0 : statSync(path).size;
  } catch {
    // Opening it fails, too, and says why
    return 0;
  }
}

function sourcesOf(paths: readonly string[]): RoutingSource[] {
  return paths.map((path) => (path === '-' ? process.stdin : path));
}

function optionsOf({ array, axes, numLayers, numTopk, dtype }: RoutingFlags): OpenRoutingOptions {
  return { array, axes, numLayers, numTopk, idType: dtype, name: displayName('-'), waits: true };
}

function chooseRouting(routing: Routing, flags: RoutingFlags): ChosenRouting {
  const name = routing.files.join(', ');
  const { layers } = routing;
  const shown = `[${routing.tokens}, ${routing.topk}]`;
  if (layers.length === 1 && !routing.axes.includes('layers')) {
    if (flags.layer !== undefined)
      fail(`--layer is for routing of several layers; ${name} is ${shown}, one [tokens, topk]`);
    return { routing, name, numLayersInFile: null, chosen: [0], layers: null, hasLayerAxis: false };
  }
  const chosen = chooseLayers(layers, flags, name);
  return {
    routing,
    name,
    numLayersInFile: layers.length,
    chosen,
    layers: chosen.map((index) => layers[index]),
    hasLayerAxis: typeof flags.layer !== 'number',
  };
}

/** The indices of the layers that `--layer` asks for. */
function chooseLayers(layers: readonly number[], { layer }: RoutingFlags, name: string): readonly number[] {
  if (layers.length === 0) fail(`${name} has no layers; save it again, or pass --axes`);
  if (typeof layer !== 'number') return layers.map((_, index) => index);
  const index = layers.indexOf(layer);
  return index >= 0 ? [index] : fail(`--layer ${layer} is not in ${name}, which has ${describeLayers(layers)}`);
}

function describeLayers(layers: readonly number[]): string {
  if (layers.length === 1) return `one layer, ${layers[0]}`;
  const [first] = layers;
  const last = layers[layers.length - 1];
  return last - first === layers.length - 1 ? `layers ${first} to ${last}` : `layers ${layers.join(', ')}`;
}
