/**
 * Orders of rows: the kernel computes them from located ids, in windows from which they are copied.
 *
 * @module
 */
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { ExpertOrder, RankOrder } from '../../layout/outputs.ts';
import { setElements } from '../../values/typed-array.ts';
import type { WasmKernel } from './kernel.ts';
import { kernelWith } from './kernels.ts';
import { locateTokens } from './locate-tokens.ts';
import { passing } from './memory.ts';
import { OrderBuffers, type OrderWindow } from './order-buffers.ts';
import type { OrderModule } from './order-kernel.ts';

/** The arrays of an order, under the names that both orders share. A key is a local expert or a rank. */
interface OrderArrays {
  readonly numRowsOfKey: Int32Array;
  readonly firstRowOfKey: Int32Array;
  readonly ofRow: Int32Array;
  readonly rowOfSelection: Int32Array;
}

/**
 * The buffers that orders pass through. All ids that are located fit, and so does the padding of 1024 experts' rows to
 * multiples of 256, or of fewer to larger ones.
 */
const orderWindow: OrderWindow = { rows: 768 * 1024, selections: passing.locatedIds };
let buffers: OrderBuffers;

/** Computes an order. Nothing is written before all ids are known to be valid, if the request is strict. */
export function orderRows(request: LayoutRequest, module: OrderModule): void {
  buffers ??= new OrderBuffers([orderWindow], module);
  const order = request.computation as ExpertOrder | RankOrder;
  const { out, numTokens, numTopk } = request;
  const arrays: OrderArrays =
    order.kind === 'byExpert'
      ? {
          numRowsOfKey: out.numTokensPerExpert,
          firstRowOfKey: out.expertOffsets,
          ofRow: out.selectionOfRow,
          rowOfSelection: out.rowOfSelection,
        }
      : {
          numRowsOfKey: out.numTokensPerRank,
          firstRowOfKey: out.rankOffsets,
          ofRow: out.tokenOfRow,
          rowOfSelection: out.rowOfSelection,
        };
  const kernel = kernelWith(buffers, request);
  const numIds = numTokens * numTopk;
  kernel.exports.begin(numIds, false);
  const fits = numIds <= kernel.windows.locatedIds && arrays.ofRow.length <= orderWindow.rows;
  if (fits) orderAtOnce(kernel, request, order, arrays);
  else orderInPieces(kernel, request, order, arrays);
}

/** The usual way: all ids are located, and then ordered. */
function orderAtOnce(
  kernel: WasmKernel,
  request: LayoutRequest,
  order: ExpertOrder | RankOrder,
  { numRowsOfKey, firstRowOfKey, ofRow, rowOfSelection }: OrderArrays,
): void {
  const { numTokens, numTopk, isStrict, partition } = request;
  locateTokens(kernel, request, 0, numTokens, isStrict);
  const [orderKernel] = buffers.kernelsIn(kernel, partition);
  orderKernel.order(order, 0, numTokens, numTopk, ofRow.length);
  const { views } = orderKernel;
  setElements(numRowsOfKey, views.numRowsOfKey.first(numRowsOfKey.length));
  setElements(firstRowOfKey, views.firstRowOfKey.first(firstRowOfKey.length));
  setElements(ofRow, views.ofRow.first(ofRow.length));
  setElements(rowOfSelection, views.rowOfSelection.first(rowOfSelection.length));
}

/**
 * The way for more ids than can be located at once, or for very much padding. The rows of all pieces of the ids are
 * first only counted, from which the first row of each key follows. Then each piece is ordered by itself, without
 * padding. The rows of a key in one piece come behind those in the pieces before it.
 *
 * The ids are read twice. If another thread writes to them in between, a key may get more rows than were counted. These
 * are left out, so that the rows of each key stay within its own. Nothing that is read from the caller's arrays decides
 * where rows are written, since other threads may write to these, too.
 */
function orderInPieces(
  kernel: WasmKernel,
  request: LayoutRequest,
  order: ExpertOrder | RankOrder,
  { numRowsOfKey, firstRowOfKey, ofRow, rowOfSelection }: OrderArrays,
): void {
  const { numTokens, numTopk, isStrict, partition } = request;
  const step = Math.max(1, Math.floor(kernel.windows.locatedIds / numTopk));
  const dense = order.kind === 'byExpert' ? { ...order, alignment: 1 } : order;
  const [orderKernel] = buffers.kernelsIn(kernel, partition);
  const { views: piece } = orderKernel;
  const { shiftOfKey } = piece;
  const rowsOfPiece = piece.numRowsOfKey.whole;
  const firstRows = piece.firstRowOfKey.whole;
  const numKeys = numRowsOfKey.length;
  /** Locates the ids of each piece. It is an error if an id is invalid and `isChecked` is set. */
  const forEachPiece = (isChecked: boolean, visit: (firstToken: number, count: number) => void): void => {
    for (let token = 0; token < numTokens; token += step) {
      const count = Math.min(step, numTokens - token);
      locateTokens(kernel, request, token, token + count, isChecked);
      visit(token, count);
    }
  };

  const totals = new Int32Array(numKeys);
  forEachPiece(isStrict, (firstToken, count) => {
    orderKernel.count(dense, firstToken, count, numTopk);
    for (let key = 0; key < numKeys; key++) totals[key] += rowsOfPiece[key];
  });

  const alignment = order.kind === 'byExpert' ? order.alignment : 1;
  const firstRowOfAll = new Int32Array(numKeys + 1);
  for (let key = 0; key < numKeys; key++) {
    firstRowOfAll[key + 1] = firstRowOfAll[key] + Math.ceil(totals[key] / alignment) * alignment;
  }
  setElements(numRowsOfKey, totals);
  setElements(firstRowOfKey, firstRowOfAll);

  ofRow.fill(-1);
  const nextRow = firstRowOfAll.slice();
  forEachPiece(false, (firstToken, count) => {
    orderKernel.order(dense, firstToken, count, numTopk, count * numTopk);
    for (let key = 0; key < numKeys; key++) {
      shiftOfKey[key] = nextRow[key] - firstRows[key];
      const numRows = Math.min(rowsOfPiece[key], firstRowOfAll[key + 1] - nextRow[key]);
      if (numRows === 0) continue;
      setElements(ofRow, piece.ofRow.whole.subarray(firstRows[key], firstRows[key] + numRows), nextRow[key]);
      nextRow[key] += numRows;
    }
    orderKernel.shift(order, count * numTopk);
    setElements(rowOfSelection, piece.rowOfSelection.first(count * numTopk), firstToken * numTopk);
  });
}
