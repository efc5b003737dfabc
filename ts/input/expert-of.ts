/**
 * Which expert an id selects.
 *
 * @module
 */
import type { EmptyId } from '../../input/topk-idx.ts';

/** The expert that an id selects, or -1 if it selects none: it is empty, or it is not an expert. */
export function expertOf(id: number | bigint, numExperts: number, emptyId: EmptyId): number {
  const expert = Number(id);
  return expert < 0 || expert >= numExperts || isEmpty(id, emptyId) ? -1 : expert;
}

/** Whether an id is the one that stands for an empty slot beside -1. */
export function isEmpty(id: number | bigint, emptyId: EmptyId): boolean {
  return id === emptyId || Number(id) === emptyId;
}
