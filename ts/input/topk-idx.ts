/**
 * `topkIdx` in the one form that the library works with: a view of integers with strides, whatever form the caller
 * passed.
 *
 * @module
 */
import { type IdTypeFacts, type IntegerArray, idTypes } from '../values/id-types.ts';

/**
 * The id that stands for an empty slot beside -1. It is a number if a number is exact, else a bigint. It is null if
 * there is no such id, or if the type of the ids cannot hold it.
 */
export type EmptyId = number | bigint | null;

/**
 * `topkIdx` after the checks: `data[offset + token * tokenStride + slot * slotStride]` exists for every token and slot.
 */
export class TopkIdx {
  data: IntegerArray = noIds;
  type: IdTypeFacts = idTypes.int32;
  numTokens = 0;
  numTopk = 0;
  /** The lengths of the axes that are read as tokens, if there are several. */
  leadingAxes: readonly number[] | null = null;
  offset = 0;
  tokenStride = 0;
  slotStride = 1;
  emptyId: EmptyId = null;
  /**
   * The caller's value and the id type from which `emptyId` was read. If a call has the same ones, it reads nothing.
   */
  givenEmptyId: unknown = undefined;
  emptyIdType: IdTypeFacts | undefined = undefined;
  /**
   * For nested arrays: the first value that `data` cannot hold. The others need not be kept: such a value is never an
   * expert, and errors report only the first.
   */
  unfit: { readonly index: number; readonly value: number | bigint } | null = null;
  /** For nested arrays: 1 for each value that was a bigint. */
  isBigint: Uint8Array | null = null;

  /** The id as the caller wrote it; undefined if the array has become shorter since it was checked. */
  valueAt(token: number, slot: number): number | bigint | undefined {
    const { data, offset, tokenStride, slotStride, unfit, isBigint } = this;
    const index = token * this.numTopk + slot;
    const value: number | bigint | undefined =
      unfit?.index === index ? unfit.value : data[offset + token * tokenStride + slot * slotStride];
    return value !== undefined && isBigint?.[index] === 1 ? BigInt(value) : value;
  }

  /**
   * Sets the offset and the strides for rows that lie one after the other from the start of the data; if the data are
   * column-major, for such columns.
   */
  setDense(isColumnMajor = false): void {
    this.offset = 0;
    this.tokenStride = isColumnMajor ? 1 : this.numTopk;
    this.slotStride = isColumnMajor ? this.numTokens : 1;
  }

  /** Drops the reference to the caller's array, so that this object can be kept for the next call. */
  clear(): void {
    this.data = noIds;
    this.unfit = null;
    this.isBigint = null;
  }
}

const noIds = new Int32Array(0);
