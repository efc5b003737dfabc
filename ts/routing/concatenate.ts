/**
 * Puts grids together: the files of several ranks, the shards of one file, or the arrays of one container.
 *
 * @module
 */
import { type IdType, type IntegerArray, idTypes } from '../values/id-types.ts';
import type { GridPiece, IdGrid } from './contents.ts';
import { refuse } from './routing-error.ts';

/** A grid, and what to call it in errors. */
export interface NamedGrid {
  readonly name: string;
  readonly grid: IdGrid;
}

/** A piece of grids that were put together. */
export interface PartPiece extends GridPiece {
  /** The index of the grid that it is of; undefined for rows of -1 that no grid has. */
  readonly part?: number;
}

/** A grid of other grids. */
export interface ConcatenatedGrid extends IdGrid {
  pieces(layers: readonly number[], into: IntegerArray): AsyncGenerator<PartPiece, void, void>;
}

/** Where the layers of a grid go. */
interface Placed {
  readonly grid: IdGrid;
  /** For each of its layers, which layer of the whole it is, and which of its tokens there is the first one here. */
  readonly places: readonly { readonly layer: number; readonly firstToken: number }[];
}

/**
 * Puts grids together. The tokens of each layer are those of all grids that have the layer, in the order of the grids.
 * Layers are in ascending order of their numbers, and a layer with fewer tokens than others is filled with -1.
 *
 * @param parts one or more grids of the same number of slots.
 * @throws {@link RoutingError} `DAMAGED` if their numbers of slots differ.
 */
export function concatenated(parts: readonly NamedGrid[]): ConcatenatedGrid {
  if (parts.length === 1) return parts[0].grid;
  const { numTopk } = parts[0].grid;
  for (const { name, grid } of parts) {
    if (grid.numTopk === numTopk) continue;
    const problem = `has ${grid.numTopk} slots for each token, and ${parts[0].name} has ${numTopk}`;
    refuse('DAMAGED', problem, { file: name, remedy: 'read what is of one model' });
  }
  const layers = [...new Set(parts.flatMap(({ grid }) => grid.layers))].sort((left, right) => left - right);
  const indexOf = new Map(layers.map((number, index) => [number, index]));
  const tokensOfLayer = new Array<number>(layers.length).fill(0);
  const placed = parts.map(({ grid }): Placed => {
    const places = grid.layers.map((number, index) => {
      const layer = indexOf.get(number) as number;
      const firstToken = tokensOfLayer[layer];
      tokensOfLayer[layer] += grid.tokensOfLayer?.[index] ?? grid.numTokens;
      return { layer, firstToken };
    });
    return { grid, places };
  });
  const numTokens = tokensOfLayer.reduce((most, count) => Math.max(most, count), 0);
  const isRagged = tokensOfLayer.some((count) => count !== numTokens);
  const types = parts.map(({ grid }) => grid.idType);
  return {
    idType: commonType(types, isRagged),
    layers,
    numTokens,
    ...(isRagged && { tokensOfLayer }),
    numTopk,
    async *pieces(chosen, into) {
      const isChosen = new Set(chosen);
      for (const [part, each] of placed.entries()) yield* piecesOf(each, part, isChosen, into);
      for (const layer of chosen) yield* fillers(layer, tokensOfLayer[layer], numTokens, numTopk, into);
    },
  };
}

/** The smallest type that holds the ids of all types, and -1 if cells are missing. */
function commonType(types: readonly IdType[], isRagged: boolean): IdType {
  const all = [...new Set(types)];
  if (all.length === 1 && (!isRagged || idTypes[all[0]].isSigned)) return all[0];
  // An unsigned type needs a wider signed one. There is none for uint64, but an id of 2^63 or more is of no expert, and
  // as an int64 it is negative, which is of no expert either.
  const bytes = Math.max(...all.map((type) => idTypes[type].bytes * (idTypes[type].isSigned ? 1 : 2)));
  return bytes >= 8 ? 'int64' : bytes === 4 ? 'int32' : bytes === 2 ? 'int16' : 'int8';
}

async function* piecesOf(
  { grid, places }: Placed,
  part: number,
  chosen: ReadonlySet<number>,
  into: IntegerArray,
): AsyncGenerator<PartPiece, void, void> {
  const { array } = idTypes[grid.idType];
  const own = into instanceof array ? into : (new array(into.length) as IntegerArray);
  const indices = places.flatMap(({ layer }, index) => (chosen.has(layer) ? [index] : []));
  for await (const piece of grid.pieces(indices, own)) {
    const { layer, firstToken } = places[piece.layer];
    // Rows with which the grid fills its own layers are those of later parts here.
    const numReal = (grid.tokensOfLayer?.[piece.layer] ?? grid.numTokens) - piece.firstToken;
    const numTokens = Math.min(piece.numTokens, numReal);
    if (numTokens <= 0) continue;
    const size = numTokens * grid.numTopk;
    if (own !== into) convert(piece.ids, into, size);
    yield { layer, firstToken: firstToken + piece.firstToken, numTokens, ids: into.subarray(0, size), part };
  }
}

/** Copies ids into an array of a type that holds them all. */
function convert(ids: IntegerArray, into: IntegerArray, size: number): void {
  const toBig = into instanceof BigInt64Array;
  // The compiler does not know which elements the arrays have.
  const target = into as { [index: number]: number | bigint };
  for (let i = 0; i < size; i++) target[i] = toBig ? BigInt(ids[i]) : ids[i];
}

/** Rows of -1 for the tokens that a layer does not have. */
function* fillers(
  layer: number,
  from: number,
  to: number,
  numTopk: number,
  into: IntegerArray,
): Generator<GridPiece, void, void> {
  const room = Math.max(1, Math.floor(into.length / Math.max(1, numTopk)));
  for (let firstToken = from; firstToken < to; firstToken += room) {
    const numTokens = Math.min(room, to - firstToken);
    const ids = into.subarray(0, numTokens * numTopk);
    if (ids instanceof BigInt64Array || ids instanceof BigUint64Array) ids.fill(-1n);
    else ids.fill(-1);
    yield { layer, firstToken, numTokens, ids };
  }
}
