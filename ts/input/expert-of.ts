/**
 * Which expert an id selects.
 *
 * @module
 */
import { InvalidExpertError } from '../errors/errors.ts';
import { isInvalidExpert } from '../values/invalid-expert.ts';
import type { EmptyId, TopkIdx } from './topk-idx.ts';

/** The expert that an id selects, or -1 if it selects none: it is empty, or it is not an expert. */
export function expertOf(id: number | bigint, numExperts: number, emptyId: EmptyId): number {
  const expert = Number(id);
  return expert < 0 || expert >= numExperts || isEmpty(id, emptyId) ? -1 : expert;
}

/**
 * Checks that every id is an expert or empty.
 *
 * @throws InvalidExpertError for the first that is neither.
 */
export function checkExperts(topkIdx: TopkIdx, numExperts: number): void {
  const { numTokens, numTopk } = topkIdx;
  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) checkExpert(topkIdx, token, slot, numExperts);
  }
}

/** @throws InvalidExpertError if the id in a slot is neither an expert nor empty. */
export function checkExpert(topkIdx: TopkIdx, token: number, slot: number, numExperts: number): void {
  const { data, numTopk, offset, tokenStride, slotStride, emptyId } = topkIdx;
  const id = data[offset + token * tokenStride + slot * slotStride];
  if (isInvalidExpert(id, numExperts) && !isEmpty(id, emptyId)) {
    throw InvalidExpertError.at(token * numTopk + slot, topkIdx, numExperts);
  }
}

/** Whether an id is the one that stands for an empty slot beside -1. */
function isEmpty(id: number | bigint, emptyId: EmptyId): boolean {
  return id === emptyId || Number(id) === emptyId;
}
