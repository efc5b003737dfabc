/**
 * The file of an order: its outputs, and the number of rows. The orders of pieces are put together in it: the rows of a
 * group in a piece come behind those of the same group in the pieces before.
 *
 * @module
 */
import { type ComputedLayers, shapeInFile } from '../compute/computed-layers.ts';
import type { ComputedPiece } from '../compute/pass.ts';
import { dimensionsOf, type ExpertOrder, type OutputName, type RankOrder, sizeOf } from '../library.ts';
import { nameInFiles } from '../name-in-files.ts';
import { NpzFile } from './npz-file.ts';

/** The order of one piece: its rows are grouped by local expert or by rank, and not padded. */
export interface PieceOrder {
  /** The number of rows of each group. */
  readonly counts: Int32Array;
  /** What each row is of, in the piece: a selection or a token. */
  readonly contentOfRow: Int32Array;
  /** The row of each selection; -1 for none. */
  readonly rowOfSelection: Int32Array;
}

/** What is known of the orders of all chosen layers before their rows are written. */
export interface OrderOfLayers extends ComputedLayers {
  readonly computation: ExpertOrder | RankOrder;
  /** For each layer, the rows of each local expert or of each rank, without padding. */
  readonly counts: readonly Float64Array[];
  /** For each layer, the number of rows, padding included. */
  readonly numRows: readonly number[];
}

/** The file of an order, while it is written. */
export interface OrderFile {
  /** Writes the rows of a piece. The pieces of a layer come in the order of its tokens. */
  writePiece(piece: PieceOrder, place: ComputedPiece): void;
  /** Completes the file and gives it its name. */
  finish(): void;
  /** Removes the file unless it is finished. */
  discard(): void;
}

/** Bytes of one element of the outputs, which are int32. */
const bytes = 4;

/**
 * Creates the file. The outputs are in the order of the library's table. The order must not change, so that the same input
 * gives the same bytes in every version.
 *
 * @param offsets for each layer, the first row of each group, and last the number of rows.
 */
export function createOrderFile(path: string, order: OrderOfLayers, offsets: readonly Float64Array[]): OrderFile {
  const { computation, routing, numTokens, numTopk, counts, numRows } = order;
  const isByExpert = computation.kind === 'byExpert';
  const [countsName, offsetsName, contentName]: OutputName[] = isByExpert
    ? ['numTokensPerExpert', 'expertOffsets', 'selectionOfRow']
    : ['numTokensPerRank', 'rankOffsets', 'tokenOfRow'];
  const file = NpzFile.create(path, [
    ...computation.form.outputs.map((output) => {
      const shape = shapeInFile(routing, dimensionsOf(output, order) ?? []);
      return { name: nameInFiles(output.name), dtype: 'i4' as const, shape };
    }),
    { name: 'num_rows', dtype: 'i8' as const, shape: shapeInFile(routing, []) },
  ]);
  const write = (name: OutputName, element: number, values: Int32Array): void =>
    file.write(nameInFiles(name), element * bytes, values);

  const numContents = lengthOf(order, contentName);
  file.fill(nameInFiles(contentName), -1);
  counts.forEach((ofLayer, layer) => {
    write(countsName, layer * ofLayer.length, Int32Array.from(ofLayer));
    write(offsetsName, layer * offsets[layer].length, Int32Array.from(offsets[layer]));
  });
  file.write('num_rows', 0, BigInt64Array.from(numRows, BigInt));

  // The next row of each group in each layer.
  const next = offsets.map((ofLayer) => Float64Array.from(ofLayer));
  let rowOf = new Int32Array(0);
  return {
    writePiece({ counts: ofPiece, contentOfRow, rowOfSelection }, { layer, firstToken }) {
      const firstContent = isByExpert ? firstToken * numTopk : firstToken;
      if (rowOf.length < contentOfRow.length) rowOf = new Int32Array(contentOfRow.length);
      let row = 0;
      for (let group = 0; group < ofPiece.length; group++) {
        const count = ofPiece[group];
        if (count === 0) continue;
        const firstRow = next[layer][group];
        const contents = contentOfRow.slice(row, row + count);
        for (let i = 0; i < count; i++) {
          contents[i] += firstContent;
          rowOf[row + i] = firstRow + i;
        }
        write(contentName, layer * numContents + firstRow, contents);
        next[layer][group] += count;
        row += count;
      }
      const rows = rowOfSelection.map((each) => (each < 0 ? -1 : rowOf[each]));
      write('rowOfSelection', (layer * numTokens + firstToken) * numTopk, rows);
    },
    finish: () => file.finish(),
    discard: () => file.discard(),
  };
}

function lengthOf(order: OrderOfLayers, name: OutputName): number {
  const output = order.computation.form.outputs.find((each) => each.name === name);
  if (output === undefined) throw new Error(`an order has no output ${name}`);
  return sizeOf(dimensionsOf(output, order) ?? []);
}
