/**
 * Result arrays full of a value that no layout contains, and the check that nothing was written to them.
 *
 * @module
 */
import { assert } from 'chai';
import type { LayoutArrays, MaskForm } from 'dispatch-layout';
import { forOutputs, type LayoutSize, outputNames, outputs } from '../conformance/oracle.ts';

const marker = -77;

/** How the arrays differ from plain ones of exactly the right lengths. */
export interface MarkedArraysOptions {
  /** The number of additional elements at the end of the mask. */
  readonly extraMask?: number;
  readonly allocate?: (bytes: number) => ArrayBufferLike;
}

/** Arrays for a layout of this size, filled with the marker. */
export function markedArrays(size: LayoutSize, options: MarkedArraysOptions = {}): LayoutArrays {
  const { extraMask = 0, allocate = (bytes) => new ArrayBuffer(bytes) } = options;
  return forOutputs((name) => {
    const { type, lengthOf } = outputs[name];
    const length = lengthOf(size);
    if (length === null) return null;
    const total = length + (name === 'isTokenInRank' ? extraMask : 0);
    return new type(allocate(total * type.BYTES_PER_ELEMENT) as ArrayBuffer).fill(marker);
  }) as unknown as LayoutArrays;
}

/** Whether nothing was written to a marked array, or to a part of one. */
export function isUntouched(array: Int32Array | Uint8Array): boolean {
  const expected = array instanceof Uint8Array ? marker & 0xff : marker;
  return array.length === 0 || array.every((value) => value === expected);
}

/** Checks that nothing was written to any of the arrays. One whose buffer is gone has no elements, and passes. */
export function expectUntouched(out: LayoutArrays<MaskForm>): void {
  for (const name of outputNames) {
    const array = out[name];
    if (array !== null) assert.isTrue(isUntouched(array), `${name} is untouched`);
  }
}
