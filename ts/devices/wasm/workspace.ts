/**
 * A workspace in WASM memory of its own: the caller's ids are where the kernel reads them, and the results where it writes
 * them. The memory is sized once and never grows, so that no view of it is ever detached.
 *
 * @module
 */
import { DispatchLayoutError, InvalidExpertError } from '../../errors/errors.ts';
import type { Partition } from '../../input/partition.ts';
import { firstParts, type LayoutArrays } from '../../layout/outputs.ts';
import { type IdTypeFacts, type IntegerArray, idTypes } from '../../values/id-types.ts';
import type { WorkspaceMemory, WorkspaceShape } from '../device.ts';
import { WasmKernel } from './kernel.ts';

/** One instance of the kernel, whose windows hold all tokens. */
export class WasmWorkspace implements WorkspaceMemory {
  readonly topkIdx: IntegerArray;
  readonly out: LayoutArrays;
  readonly #kernel: WasmKernel;
  readonly #numTopk: number;
  readonly #type: IdTypeFacts;
  readonly #numExperts: number;

  constructor(partition: Partition, { maxTokens, numTopk, idType }: WorkspaceShape) {
    const numIds = maxTokens * numTopk;
    try {
      this.#kernel = new WasmKernel({
        idsBytes: numIds * idTypes[idType].bytes,
        rowsBytes: 0,
        minRows: Math.max(maxTokens, 1),
        locatedIds: numIds,
      });
      this.#kernel.use(partition, numTopk);
    } catch (cause) {
      throw new DispatchLayoutError(
        'OUT_OF_MEMORY',
        `${maxTokens} tokens x ${numTopk} slots do not fit in WASM memory`,
        {
          value: maxTokens,
          remedy: 'Lower maxTokens, and add up the counts.',
          cause,
        },
      );
    }
    this.#numTopk = numTopk;
    this.#type = idTypes[idType];
    this.#numExperts = partition.numExperts;
    this.topkIdx = this.#kernel.ids(idTypes[idType]).subarray(0, numIds);
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
