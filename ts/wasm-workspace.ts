/**
 * A workspace in WASM memory of its own: the caller's ids are where the kernel reads them, and the results where it writes
 * them. The memory is sized once and never grows, so that no view of it is ever detached.
 *
 * @module
 */
import type { WorkspaceMemory, WorkspaceShape } from './device.ts';
import { DispatchLayoutError, InvalidExpertError } from './errors.ts';
import type { LayoutArrays } from './layout.ts';
import type { Partition } from './partition.ts';
import { arrayClasses, type IdType, type IntegerArray } from './topk-idx.ts';
import { WasmKernel } from './wasm-kernel.ts';

/** One instance of the kernel, whose windows hold all tokens. */
export class WasmWorkspace implements WorkspaceMemory {
  readonly topkIdx: IntegerArray;
  readonly out: LayoutArrays;
  readonly #kernel: WasmKernel;
  readonly #idType: IdType;
  readonly #numTopk: number;
  readonly #numExperts: number;

  constructor(partition: Partition, { maxTokens, numTopk, idType }: WorkspaceShape) {
    const numIds = maxTokens * numTopk;
    try {
      this.#kernel = new WasmKernel({
        idsBytes: numIds * arrayClasses[idType].BYTES_PER_ELEMENT,
        rowsBytes: maxTokens * partition.numRanks,
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
    this.#idType = idType;
    this.#numTopk = numTopk;
    this.#numExperts = partition.numExperts;
    this.topkIdx = this.#kernel.ids(idType).subarray(0, numIds);
    const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert } = this.#kernel.counts;
    this.out = {
      numTokensPerRank,
      numTokensPerRdmaRank: partition.numRdmaRanks === 1 ? null : numTokensPerRdmaRank,
      numTokensPerExpert,
      isTokenInRank: this.#kernel.rows(maxTokens),
    };
  }

  compute(numTokens: number, strict: boolean): void {
    const kernel = this.#kernel;
    const numIds = numTokens * this.#numTopk;
    kernel.begin(numIds);
    const isValid = kernel.locate(this.#idType, numIds, 0);
    if (!isValid && strict) {
      const position = kernel.findInvalid(this.#idType, numIds);
      const token = Math.floor(position / this.#numTopk);
      const slot = position % this.#numTopk;
      throw new InvalidExpertError(this.topkIdx[position], token, slot, this.#numExperts);
    }
    kernel.addTokens(0, numTokens, this.#numTopk, 0);
    kernel.finish();
  }
}
