/**
 * Opens routing files of any format: finds out what is in them, and reads the ids piece by piece.
 *
 * @module
 */
import { counted } from '../values/grouped.ts';
import { type IdType, type IntegerArray, idTypes } from '../values/id-types.ts';
import { gridOfArrays } from './array-grid.ts';
import { decideAxes, formatAxes } from './axes.ts';
import { chooseArray } from './choose-array.ts';
import { type ConcatenatedGrid, concatenated, type PartPiece } from './concatenate.ts';
import type {
  ArrayContents,
  Axis,
  Contents,
  CountContents,
  FormatName,
  GridPiece,
  IdContents,
  IdGrid,
  StoredArray,
} from './contents.ts';
import { axesAreOfCounts, countsInArray, type ExpertCounts, sumOfFiles } from './expert-counts.ts';
import { placeOf } from './gather.ts';
import { type OpenedContents, type OpenRoutingOptions, openContents, type RoutingSource } from './open-contents.ts';
import type { ReadOptions } from './read-options.ts';
import { printable, refuse } from './routing-error.ts';
import { findUnlikeIds } from './unlike-ids.ts';
import { maskBeside, noteOfPadding, withoutPadding } from './without-padding.ts';

/** What is known of routing before its ids are read. */
export interface RoutingDescription {
  /** Routing has the ids of experts. {@link ExpertCounts} have none. */
  readonly kind: 'ids';
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
  /** For each of `files`, the rank whose tokens it has; `null` where the file does not say. */
  readonly ranks: readonly (number | null)[];
  /** What a reader should know of how the files were read. */
  readonly notes: readonly string[];
}

/** A part of the ids of one layer: `numTokens` rows of `topk` ids, of one file. */
export interface IdPiece extends GridPiece {
  /** The index of its layer in `layers`, which need not be its number in the model. */
  readonly layer: number;
  /** The index of its file in `files`; `null` for rows of -1 that no file has. */
  readonly file: number | null;
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
 * @throws {@link RoutingError} if it cannot be read as asked; the code says why. Counts of experts are refused with the
 *   code `COUNTS`; {@link openRoutingOrCounts} reads them, too.
 */
export async function openRouting(
  source: RoutingSource | readonly RoutingSource[],
  options: OpenRoutingOptions = {},
): Promise<Routing> {
  const opened = await openRoutingOrCounts(source, options);
  return opened.kind === 'ids' ? opened : refuseCounts(opened);
}

/**
 * Opens routing, or counts of experts, for those who can do with either: a plan of experts can be made from both.
 *
 * ```ts
 * import { openRoutingOrCounts } from 'dispatch-layout/routing';
 *
 * const opened = await openRoutingOrCounts(new TextEncoder().encode('layer_id,expert_id,count\n3,0,90\n3,1,10\n'));
 * if (opened.kind === 'counts') console.log(opened.layers, opened.counts[0].join(' ')); // [ 3 ] 90 10
 * ```
 *
 * @param source as for {@link openRouting}. The counts of several sources are added up.
 * @returns the counts, which are read as a whole, so that there is nothing to close; or the routing, as
 *   {@link openRouting} opens it.
 * @throws {@link RoutingError} if it cannot be read as asked; `CHOICE` if some sources hold ids, and others counts.
 */
export async function openRoutingOrCounts(
  source: RoutingSource | readonly RoutingSource[],
  options: OpenRoutingOptions = {},
): Promise<Routing | ExpertCounts> {
  const opened = await openContents(source, options);
  try {
    const ids: NamedIds[] = [];
    const counts: { name: string; contents: CountContents }[] = [];
    for (const { name, contents } of opened.files) {
      const found = await resolve(name, contents, options);
      if (found.kind === 'ids') ids.push({ name, ids: found });
      else counts.push({ name, contents: found });
    }
    if (counts.length === 0) {
      for (const part of ids) checkOptions(part, options);
      return routingOf(ids, opened);
    }
    if (ids.length > 0) {
      const problem = `holds counts of experts, and ${ids[0].name} holds ids`;
      refuse('CHOICE', problem, { file: counts[0].name, remedy: 'give files of one kind' });
    }
    const sums = sumOfFiles(counts);
    opened.close();
    return sums;
  } catch (error) {
    opened.close();
    throw error;
  }
}

/** The ids of a file, and what to call it. */
interface NamedIds {
  readonly name: string;
  readonly ids: IdContents;
}

/** Refuses options that contradict the file: they are for files that say less. */
function checkOptions({ name: file, ids: { grid } }: NamedIds, { numLayers, numTopk, idType }: ReadOptions): void {
  const refuseOption = (option: string, holds: string): never =>
    refuse('CHOICE', `holds ${holds}, and ${option} says otherwise`, { file, remedy: `leave out ${option}` });
  if (numLayers !== undefined && numLayers !== grid.layers.length) {
    refuseOption(`numLayers: ${numLayers}`, counted(grid.layers.length, 'layer'));
  }
  if (numTopk !== undefined && numTopk !== grid.numTopk) {
    refuseOption(`numTopk: ${numTopk}`, `${counted(grid.numTopk, 'id')} of each token`);
  }
  if (idType !== undefined && idType !== grid.idType) refuseOption(`idType: ${idType}`, `${grid.idType}`);
}

function routingOf(parts: NamedIds[], { close }: OpenedContents): Routing {
  if (parts.every(({ ids }) => ids.rank !== null)) {
    parts.sort((left, right) => (left.ids.rank as number) - (right.ids.rank as number));
  }
  const grid = concatenated(parts.map(({ name, ids }) => ({ name, grid: ids.grid })));
  const [{ ids: first }] = parts;
  const common = <Value>(factOf: (ids: IdContents) => Value): Value | null => {
    return parts.every(({ ids }) => factOf(ids) === factOf(first)) ? factOf(first) : null;
  };
  return {
    kind: 'ids',
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
    ranks: parts.map(({ ids }) => ids.rank),
    notes: parts.flatMap(({ name, ids }) =>
      ids.notes.map((note) => printable(parts.length === 1 ? note : `${name}: ${note}`)),
    ),
    pieces: ({ layers, into } = {}) => piecesOfFiles(parts.length, checkedPieces(parts[0].name, grid, layers, into)),
    close,
  };
}

/** The ids or counts in a file, whatever its format: of a container of arrays, one is chosen, and its axes are decided. */
async function resolve(name: string, contents: Contents, options: ReadOptions): Promise<IdContents | CountContents> {
  if (contents.kind === 'arrays') {
    const array = chooseArray(name, contents, options);
    if (axesAreOfCounts(options.axes)) return countsInArray(array, contents, options.axes);
    const unlikeIds = options.axes === undefined ? await findUnlikeIds(array) : null;
    if (unlikeIds?.kind === 'other') {
      const problem = `is ${unlikeIds.what}, not ids: a token selects different experts`;
      const remedy = `open the file that has the ids; if these are ids, say so with ${idsHave(array)}`;
      refuse('NOT_ROUTING', problem, { file: name, place: placeOf(array), remedy });
    }
    if (unlikeIds?.kind === 'counts') {
      const note = `These are taken for counts: ${unlikeIds.because}. If they are ids, say so with ${idsHave(array)}.`;
      return countsInArray(array, { ...contents, notes: [...contents.notes, note] }, unlikeIds.axes);
    }
    const { axes, because } = await decideAxes(array, options.axes);
    const { grid, notes } = await unpadded(array, axes, contents);
    return { ...contents, kind: 'ids', grid, axes: formatAxes(axes), axesBecause: because, notes };
  }
  const fixed = contents.kind === 'counts' ? 'they are counts of experts' : contents.axesBecause;
  if (options.axes !== undefined && (contents.kind === 'counts' || options.axes !== contents.axes)) {
    const problem = `cannot be read with axes: '${options.axes}', since its format fixes them: ${fixed}`;
    refuse('CHOICE', problem, { file: name, remedy: `leave out axes: '${options.axes}'` });
  }
  return contents;
}

/** The ids of an array, without padding where a mask beside it says which tokens are. */
async function unpadded(
  array: StoredArray,
  axes: readonly Axis[],
  { arrays, others, notes }: ArrayContents,
): Promise<{ grid: IdGrid; notes: readonly string[] }> {
  const grid = gridOfArrays([{ array, axes }]);
  const maskName = maskBeside(array.name);
  const mask = arrays.find((each) => each.name === maskName && each !== array);
  if (mask === undefined) {
    const other = others.find(({ name }) => name === maskName);
    const note = `Padding is read as tokens: ${maskName} is ${other?.what}, and only masks of integers are applied.`;
    return { grid, notes: other === undefined ? notes : [...notes, note] };
  }
  const tokens = array.shape.filter((_, axis) => axes[axis] === 'tokens');
  if (mask.shape.join() !== tokens.join()) {
    const what = `${maskName} is [${mask.shape.join(', ')}], and the tokens are [${tokens.join(', ')}]`;
    return { grid, notes: [...notes, `Padding is read as tokens: ${what}.`] };
  }
  const result = await withoutPadding(grid, [{ firstToken: 0, mask }]);
  return { grid: result, notes: [...notes, noteOfPadding(grid, result)] };
}

/** The option that says that an array holds ids, in its simplest form. */
function idsHave({ shape }: StoredArray): string {
  return shape.length === 2 ? "axes: 'tokens,topk'" : "axes: 'layers,tokens,topk' or axes: 'tokens,layers,topk'";
}

function refuseCounts({ files, numExperts, layers, notes }: ExpertCounts): never {
  const what = [
    `holds counts of ${counted(numExperts, 'expert')} in ${counted(layers.length, 'layer')}, and no tokens.`,
    ...notes,
  ]
    .join(' ')
    .slice(0, -1);
  const remedy = 'record the ids that each token selects, which a layout is made of; openRoutingOrCounts reads counts';
  return refuse('COUNTS', what, { file: files[0], remedy });
}

/** Says of which file each piece is. The parts of a grid are files, unless there is only one file. */
async function* piecesOfFiles(
  numFiles: number,
  pieces: AsyncGenerator<PartPiece, void, void>,
): AsyncGenerator<IdPiece, void, void> {
  for await (const { layer, firstToken, numTokens, ids, part } of pieces) {
    yield { layer, firstToken, numTokens, ids, file: numFiles === 1 ? 0 : (part ?? null) };
  }
}

function checkedPieces(
  name: string,
  grid: ConcatenatedGrid,
  layers: readonly number[] | undefined,
  into: IntegerArray | undefined,
): AsyncGenerator<PartPiece, void, void> {
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
