/**
 * Opens routing files of any format: finds out what is in them, and reads the ids piece by piece.
 *
 * @module
 */
import { type IdType, type IntegerArray, idTypes } from '../values/id-types.ts';
import { gridOfArrays } from './array-grid.ts';
import { decideAxes, formatAxes } from './axes.ts';
import { chooseArray } from './choose-array.ts';
import { concatenated } from './concatenate.ts';
import type { Contents, CountContents, FormatName, IdContents, IdGrid, IdPiece } from './contents.ts';
import { type OpenedContents, type OpenRoutingOptions, openContents, type RoutingSource } from './open-contents.ts';
import type { ReadOptions } from './read-options.ts';
import { printable, refuse } from './routing-error.ts';

/** What is known of routing before its ids are read. */
export interface RoutingDescription {
  /** The names of its files. */
  readonly files: readonly string[];
  /** The container format of the first of them. */
  readonly format: FormatName;
  /** Who wrote it, such as `vLLM`; `null` where nothing tells. */
  readonly producer: string | null;
  /** The numbers of its layers. Where the file does not name them, they count from 0. */
  readonly layers: readonly number[];
  /** The tokens of each layer. */
  readonly tokens: number;
  /** How many tokens the file has of each layer, where that differs. The ids of the others are -1. */
  readonly tokensOfLayer: readonly number[] | null;
  /** The ids of each token. */
  readonly topk: number;
  /** The type of the ids in pieces. */
  readonly idType: IdType;
  /** The axes as they lie in the file, such as `tokens,layers,topk`. */
  readonly axes: string;
  /** Why they are known, as the rest of a sentence. */
  readonly axesBecause: string;
  /** Whether ids name experts, or the slots into which experts and their replicas are loaded; `null` if unknown. */
  readonly numbering: 'logical' | 'physical' | null;
  /** The rank whose tokens these are; `null` where the file does not say, and for several files. */
  readonly rank: number | null;
  /** The number of experts; `null` where the file does not say. */
  readonly numExperts: number | null;
  /** What a reader should know of how the files were read. */
  readonly notes: readonly string[];
}

/** What to read of routing, and where to. */
export interface PiecesOptions {
  /** The layers to read, as indices of `layers`, ascending. Default: all. */
  readonly layers?: readonly number[] | undefined;
  /**
   * The array that every piece is written to, such as `topkIdx` of a workspace. It is of type `idType`, and has room for
   * one token or more. Default: an array of 8 MiB.
   */
  readonly into?: IntegerArray | undefined;
}

/** Routing in opened files. */
export interface Routing extends RoutingDescription {
  /**
   * Reads the ids, each once, in bounded memory. The pieces of one layer come in the order of its tokens. Whether layers
   * come one after the other or in turns depends on how they lie in the file. It can be called again.
   *
   * @throws {@link RoutingError} if a file turns out to be damaged.
   */
  pieces(options?: PiecesOptions): AsyncGenerator<IdPiece, void, void>;
  /** Closes the files. */
  close(): void;
}

/** The size of pieces if the caller gives no array: large enough for a disk, small enough for any machine. */
const pieceBytes = 2 ** 23;

/**
 * Opens routing. The format is recognised by the content. Nothing but what is needed to describe it is read.
 *
 * @param source the routing, or several sources, of which each has some of the tokens or some of the layers: one for
 *   each rank, or the shards of one file. The tokens of a layer are those of all sources in this order; sources that
 *   know their ranks are put in the order of these.
 * @throws {@link RoutingError} if it cannot be read as asked; the code says why.
 */
export async function openRouting(
  source: RoutingSource | readonly RoutingSource[],
  options: OpenRoutingOptions = {},
): Promise<Routing> {
  const opened = await openContents(source, options);
  try {
    return await routingOf(opened, options);
  } catch (error) {
    opened.close();
    throw error;
  }
}

async function routingOf({ files, close }: OpenedContents, options: ReadOptions): Promise<Routing> {
  const parts: { name: string; ids: IdContents }[] = [];
  for (const { name, contents } of files) parts.push({ name, ids: await idsIn(name, contents, options) });
  if (parts.every(({ ids }) => ids.rank !== null)) {
    parts.sort((left, right) => (left.ids.rank as number) - (right.ids.rank as number));
  }
  const grid = concatenated(parts.map(({ name, ids }) => ({ name, grid: ids.grid })));
  const [{ ids: first }] = parts;
  const common = <Value>(factOf: (ids: IdContents) => Value): Value | null => {
    return parts.every(({ ids }) => factOf(ids) === factOf(first)) ? factOf(first) : null;
  };
  return {
    files: parts.map(({ name }) => name),
    format: first.format,
    producer: common(({ producer }) => (producer === null ? null : printable(producer))),
    layers: grid.layers,
    tokens: grid.numTokens,
    tokensOfLayer: grid.tokensOfLayer ?? null,
    topk: grid.numTopk,
    idType: grid.idType,
    axes: first.axes,
    axesBecause: printable(first.axesBecause),
    numbering: common(({ numbering }) => numbering),
    rank: common(({ rank }) => rank),
    numExperts: common(({ numExperts }) => numExperts),
    notes: parts.flatMap(({ name, ids }) =>
      ids.notes.map((note) => printable(parts.length === 1 ? note : `${name}: ${note}`)),
    ),
    pieces: ({ layers, into } = {}) => checkedPieces(parts[0].name, grid, layers, into),
    close,
  };
}

/** The ids in a file, whatever its format. */
async function idsIn(name: string, contents: Contents, options: ReadOptions): Promise<IdContents> {
  if (contents.kind === 'counts') return refuseCounts(name, contents);
  if (contents.kind === 'ids') {
    if (options.axes !== undefined && options.axes !== contents.axes) {
      const problem = `cannot be read with axes: '${options.axes}', since its format fixes them: ${contents.axesBecause}`;
      refuse('CHOICE', problem, { file: name, remedy: `leave out axes: '${options.axes}'` });
    }
    return contents;
  }
  const array = chooseArray(name, contents, options);
  const { axes, because } = await decideAxes(array, options.axes);
  const grid = gridOfArrays([{ array, axes }]);
  return { ...contents, kind: 'ids', grid, axes: formatAxes(axes), axesBecause: because };
}

function refuseCounts(file: string, { counts, layers }: CountContents): never {
  const what = `holds counts of ${counts[0]?.length ?? 0} experts in ${layers.length} layers, and no tokens`;
  return refuse('COUNTS', what, { file, remedy: 'record the ids that each token selects, which a layout is made of' });
}

function checkedPieces(
  name: string,
  grid: IdGrid,
  layers: readonly number[] | undefined,
  into: IntegerArray | undefined,
): AsyncGenerator<IdPiece, void, void> {
  const { array, bytes } = idTypes[grid.idType];
  const chosen = layers ?? grid.layers.map((_, index) => index);
  const misused = (problem: string, remedy: string): never => refuse('CHOICE', problem, { file: name, remedy });
  const isAscending = chosen.every((layer, place) => place === 0 || layer > chosen[place - 1]);
  if (!isAscending || chosen.some((layer) => !Number.isInteger(layer) || layer < 0 || layer >= grid.layers.length)) {
    misused(`cannot be read in layers: [${chosen.join(', ')}]`, `give ascending indices below ${grid.layers.length}`);
  }
  if (into !== undefined && (!(into instanceof array) || into.length < Math.min(grid.numTokens, 1) * grid.numTopk)) {
    misused(
      `holds ${grid.idType} [tokens, ${grid.numTopk}], and into does not`,
      `give an ${array.name} for one token or more`,
    );
  }
  const most = Math.max(1, Math.min(grid.numTokens, Math.floor(pieceBytes / bytes / Math.max(1, grid.numTopk))));
  return grid.pieces(chosen, into ?? new array(most * grid.numTopk));
}
