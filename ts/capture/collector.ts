/**
 * Collects a capture from the pieces of routing.
 *
 * @module
 */
import type { IntegerArray } from '../values/id-types.ts';
import { blockTokens, emptyIn, type FileRun, type KeptIds, keptArray, keptBefore } from './capture.ts';

/** What is collected. */
export interface CollectorJob {
  readonly numLayers: number;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId: number | bigint | undefined;
  /** How many ids are kept at most, unless a single block has more. */
  readonly maxIds: number;
}

/** A piece of routing, without its ids. */
export interface CollectedPiece {
  /** The index of the layer among those that are collected. */
  readonly layer: number;
  readonly firstToken: number;
  readonly numTokens: number;
  /** The index of the file that it is of; null for rows that no file has. */
  readonly file: number | null;
}

/** Keeps tokens of the pieces that it is given. */
export class Collector {
  readonly numKept: number;
  readonly keepEvery: number;
  /** `[numLayers]` of `[numKept, numTopk]` */
  readonly ids: readonly KeptIds[];
  /** `[numLayers]`: which kept tokens are of which file. */
  readonly runs: readonly (readonly FileRun[])[];
  readonly #job: CollectorJob;
  /** The low and the high 32 bits of the id that stands for an empty slot. */
  readonly #empty: { readonly low: number; readonly high: number };

  constructor(job: CollectorJob) {
    const { numLayers, numTokens, numTopk, numExperts, maxIds } = job;
    const fitting = Math.max(blockTokens, Math.floor(maxIds / Math.max(1, numLayers * numTopk)));
    this.keepEvery = Math.max(1, Math.ceil(numTokens / fitting));
    this.numKept = keptBefore(numTokens, this.keepEvery);
    const array = keptArray(numExperts);
    this.ids = Array.from({ length: numLayers }, () => {
      const ids = new array(this.numKept * numTopk);
      return ids.fill(emptyIn(ids));
    });
    this.runs = this.ids.map(() => []);
    this.#job = job;
    const empty = BigInt(job.emptyId ?? -1);
    this.#empty = { low: Number(BigInt.asIntN(32, empty)), high: Number(BigInt.asIntN(32, empty >> 32n)) };
  }

  /**
   * Keeps what is to be kept of a piece. The pieces of a layer come in the order of its tokens. What is no expert is kept
   * as an empty slot.
   *
   * @param ids `[numTokens, numTopk]`, row-major.
   */
  add({ layer, firstToken, numTokens, file }: CollectedPiece, ids: IntegerArray): void {
    const { numTopk } = this.#job;
    const end = firstToken + numTokens;
    const runs = this.runs[layer] as FileRun[];
    if (runs.at(-1)?.file === file) runs.pop();
    runs.push({ file, end: keptBefore(end, this.keepEvery) });
    for (let token = firstToken; token < end; ) {
      const block = Math.floor(token / blockTokens);
      const isKept = block % this.keepEvery === 0;
      // All blocks follow one another where each is kept
      const next = this.keepEvery === 1 ? end : Math.min(end, (block + 1) * blockTokens);
      if (isKept) {
        const at = keptBefore(token, this.keepEvery) * numTopk;
        this.#copy(ids, (token - firstToken) * numTopk, (next - token) * numTopk, this.ids[layer], at);
      }
      token = next;
    }
  }

  #copy(ids: IntegerArray, from: number, length: number, kept: KeptIds, at: number): void {
    const { numExperts, emptyId } = this.#job;
    const { low: emptyLow, high: emptyHigh } = this.#empty;
    if (ids instanceof BigInt64Array || ids instanceof BigUint64Array) {
      const words = new Int32Array(ids.buffer, ids.byteOffset, 2 * ids.length);
      for (let index = 0; index < length; index++) {
        const low = words[2 * (from + index)];
        const high = words[2 * (from + index) + 1];
        const isExpert = high === 0 && low >= 0 && low < numExperts && (low !== emptyLow || emptyHigh !== 0);
        if (isExpert) kept[at + index] = low;
      }
      return;
    }
    const empty = Number(emptyId ?? -1);
    for (let index = 0; index < length; index++) {
      const id = ids[from + index];
      if (id >= 0 && id < numExperts && id !== empty) kept[at + index] = id;
    }
  }
}
