/**
 * A workspace in WASM memory of its own. The kernel reads the ids where the caller has written them, and writes the
 * results where the caller reads them. The memory gets its size once and never grows, so that no view of it is ever
 * detached.
 *
 * @module
 */
import { InvalidExpertError } from '../../errors/errors.ts';
import type { Partition } from '../../input/partition.ts';
import { firstParts, type LayoutArrays } from '../../layout/outputs.ts';
import { type IdTypeFacts, type IntegerArray, idTypes } from '../../values/id-types.ts';
import type { WorkspaceMemory, WorkspaceShape } from '../device.ts';
import type { WasmKernel } from './kernel.ts';
import { anotherKernel } from './kernels.ts';

/**
 * Makes a workspace; null if no further instance of the kernel can be made.
 *
 * @throws DispatchLayoutError `OUT_OF_MEMORY`
 */
export function createWorkspace(partition: Partition, shape: WorkspaceShape): WasmWorkspace | null {
  const { maxTokens, numTopk, idType } = shape;
  const numIds = maxTokens * numTopk;
  const kernel = anotherKernel({
    idsBytes: numIds * idTypes[idType].bytes,
    rowsBytes: 0,
    minRows: Math.max(maxTokens, 1),
    locatedIds: numIds,
  });
  if (kernel === null) return null;
  kernel.use(partition, numTopk);
  return new WasmWorkspace(kernel, partition, shape);
}

/** A workspace is one instance of the kernel, whose windows hold all tokens. */
class WasmWorkspace implements WorkspaceMemory {
  readonly topkIdx: IntegerArray;
  readonly out: LayoutArrays;
  readonly #kernel: WasmKernel;
  readonly #numTopk: number;
  readonly #type: IdTypeFacts;
  readonly #numExperts: number;

  /** @param kernel an instance that holds the tables of the partition. */
  constructor(kernel: WasmKernel, partition: Partition, { maxTokens, numTopk, idType }: WorkspaceShape) {
    this.#kernel = kernel;
    this.#numTopk = numTopk;
    this.#type = idTypes[idType];
    this.#numExperts = partition.numExperts;
    this.topkIdx = this.#kernel.ids(idTypes[idType]).subarray(0, maxTokens * numTopk);
    this.out = firstParts(this.#kernel.outputs, { ...partition, numTokens: maxTokens, numTopk });
  }

  compute(numTokens: number, isStrict: boolean): void {
    const kernel = this.#kernel;
    const numTopk = this.#numTopk;
    const type = this.#type;
    const numIds = numTokens * numTopk;
    kernel.begin(numIds);
    const isValid = kernel.locate(type, numIds, 0);
    if (!isValid && isStrict) {
      const ids = { numTopk, valueAt: (token: number, slot: number) => this.topkIdx[token * numTopk + slot] };
      throw InvalidExpertError.at(kernel.findInvalid(type, numIds), ids, this.#numExperts);
    }
    kernel.addTokens(0, numTokens, numTopk, 0);
    kernel.finish();
  }
}
