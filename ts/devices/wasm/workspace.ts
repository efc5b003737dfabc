/**
 * A workspace in WASM memory of its own. The kernel reads the ids where the caller has written them, and writes the
 * results where the caller reads them. The memory gets its size once and never grows, so that no view of it is ever
 * detached.
 *
 * @module
 */
import { InvalidExpertError } from '../../errors/errors.ts';
import type { Partition } from '../../input/partition.ts';
import type { EmptyId } from '../../input/topk-idx.ts';
import { rowsNeeded } from '../../layout/expert-permutation.ts';
import { type Computation, type ExpertOrder, OutArrays, type RankOrder } from '../../layout/outputs.ts';
import { type IdTypeFacts, type IntegerArray, idTypes } from '../../values/id-types.ts';
import type { WorkspaceMemory, WorkspaceShape } from '../device.ts';
import type { WasmKernel } from './kernel.ts';
import { anotherKernel, kernelPartition } from './kernels.ts';
import { passing } from './memory.ts';
import { OrderBuffers, type OrderWindow } from './order-buffers.ts';
import type { OrderKernel, OrderModule } from './order-kernel.ts';

/**
 * Makes a workspace. Returns null if no further instance of the kernel can be made.
 *
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function createWorkspace(
  partition: Partition,
  shape: WorkspaceShape,
  orderModule: OrderModule,
): WasmWorkspace | null {
  const { maxTokens, numTopk, idType, layout, byExpert, byRank } = shape;
  const hasMask = layout.mask !== 'none';
  const numIds = maxTokens * numTopk;
  const orders: OrderWindow[] = [];
  if (byExpert !== null) orders.push({ rows: rowsNeeded(numIds, byExpert), selections: numIds });
  if (byRank !== null) orders.push({ rows: numIds, selections: numIds });
  const buffers = orders.length > 0 ? new OrderBuffers(orders, orderModule) : undefined;
  const kernel = anotherKernel({
    idsBytes: numIds * idTypes[idType].bytes,
    // The window holds all rows. Without a mask, nobody reads the rows, so they pass through a window of the usual size
    rowsBytes: hasMask ? 0 : passing.rowsBytes,
    minRows: hasMask ? Math.max(maxTokens, 1) : 1,
    locatedIds: numIds,
    ...(buffers && { more: buffers }),
  });
  if (kernel === null) return null;
  kernel.use(kernelPartition(partition, layout.mask), numTopk);
  return new WasmWorkspace(kernel, partition, shape, buffers?.kernelsIn(kernel, partition) ?? []);
}

/** A workspace is one instance of the kernel, whose windows hold all tokens. */
class WasmWorkspace implements WorkspaceMemory {
  readonly topkIdx: IntegerArray;
  readonly #kernel: WasmKernel;
  readonly #numTopk: number;
  readonly #type: IdTypeFacts;
  readonly #emptyId: EmptyId;
  readonly #partition: Partition;
  readonly #tokensPerWindow: number;
  /** The order by expert, if there is one, and then that by rank. */
  readonly #orders: readonly OrderKernel[];
  readonly #hasOrderByExpert: boolean;

  /** @param kernel an instance that holds the tables of the partition. */
  constructor(kernel: WasmKernel, partition: Partition, shape: WorkspaceShape, orders: readonly OrderKernel[]) {
    const { maxTokens, numTopk, idType, emptyId, byExpert } = shape;
    this.#kernel = kernel;
    this.#numTopk = numTopk;
    this.#type = idTypes[idType];
    this.#emptyId = emptyId;
    this.#partition = partition;
    this.#orders = orders;
    this.topkIdx = this.#kernel.ids(idTypes[idType]).subarray(0, maxTokens * numTopk);
    this.#tokensPerWindow = kernel.rowsBytes / kernel.rowBytes;
    this.#hasOrderByExpert = byExpert !== null;
  }

  outOf(computation: Computation): OutArrays {
    const { views } = this.#kernel;
    const out = new OutArrays(computation.form);
    if (computation.kind === 'layout') {
      out.numTokensPerRank = views.numTokensPerRank;
      out.numTokensPerRdmaRank = views.numTokensPerRdmaRank;
      out.numTokensPerExpert = views.numTokensPerExpert;
      out.isTokenInRank = views.isTokenInRank;
      return out;
    }
    const { numRowsOfKey, firstRowOfKey, ofRow, rowOfSelection } = this.#kernelOf(computation).views;
    if (computation.kind === 'byExpert') {
      out.numTokensPerExpert = numRowsOfKey.whole;
      out.expertOffsets = firstRowOfKey.whole;
      out.selectionOfRow = ofRow.whole;
    } else {
      out.numTokensPerRank = numRowsOfKey.whole;
      out.rankOffsets = firstRowOfKey.whole;
      out.tokenOfRow = ofRow.whole;
    }
    out.rowOfSelection = rowOfSelection.whole;
    return out;
  }

  compute(computation: Computation, numTokens: number, isStrict: boolean, arrays: OutArrays): void {
    const kernel = this.#kernel;
    const numTopk = this.#numTopk;
    const type = this.#type;
    const numIds = numTokens * numTopk;
    kernel.exports.begin(numIds, computation.kind === 'layout');
    const emptyId = this.#emptyId;
    if (!kernel.locate(type, emptyId, numIds, 0) && isStrict) {
      const invalid = kernel.findInvalid(type, emptyId, numIds);
      const ids = { numTopk, valueAt: (token: number, slot: number) => this.topkIdx[token * numTopk + slot] };
      throw InvalidExpertError.at(invalid, ids, this.#partition.numExperts);
    }
    if (computation.kind !== 'layout') {
      const { length } = computation.kind === 'byExpert' ? arrays.selectionOfRow : arrays.tokenOfRow;
      this.#kernelOf(computation).order(computation, 0, numTokens, numTopk, length);
      return;
    }
    const step = this.#tokensPerWindow;
    for (let token = 0; token < numTokens; token += step) {
      kernel.addTokens(token * numTopk, Math.min(step, numTokens - token), numTopk, token);
    }
    kernel.finish();
  }

  #kernelOf(order: ExpertOrder | RankOrder): OrderKernel {
    return this.#orders[order.kind === 'byRank' && this.#hasOrderByExpert ? 1 : 0];
  }
}
