/**
 * The placements that have a name, as plans. The names are those of vLLM.
 *
 * @module
 */
import { wrongValue } from '../errors/checks.ts';
import { checkRanks, createPlan, type PlacementPlan } from './plan.ts';

/** What {@link linear} and {@link roundRobin} are told. */
export interface NamedPlanShape {
  /** The number of experts of a layer. */
  readonly numExperts: number;
  /** The number of ranks. */
  readonly numRanks: number;
  /** The number of layers, which are all alike. Default 1. */
  readonly numLayers?: number | undefined;
}

/**
 * Places contiguous blocks of experts. Where they do not divide evenly, the first `numExperts % numRanks` ranks have one
 * expert more, and the last slot of the other ranks is empty (-1).
 *
 * ```ts
 * import { linear } from 'dispatch-layout/placement';
 *
 * console.log(linear({ numExperts: 5, numRanks: 2 }).physicalToLogical[0].join(' ')); // 0 1 2 3 4 -1
 * ```
 *
 * @throws DispatchLayoutError `NUM_EXPERTS`, `NUM_RANKS`; `OPTION` if `numLayers` is no positive integer.
 */
export function linear(shape: NamedPlanShape): PlacementPlan {
  const { numExperts, numRanks } = shape;
  const numUneven = numExperts % numRanks;
  const even = Math.floor(numExperts / numRanks);
  return planOf(shape, (rank, slot) =>
    slot < even || rank < numUneven ? rank * even + Math.min(rank, numUneven) + slot : -1,
  );
}

/**
 * Places expert e on rank `e % numRanks`. Where the experts do not divide evenly, the last slot of the last ranks is
 * empty (-1).
 *
 * ```ts
 * import { roundRobin } from 'dispatch-layout/placement';
 *
 * console.log(roundRobin({ numExperts: 5, numRanks: 2 }).physicalToLogical[0].join(' ')); // 0 2 4 1 3 -1
 * ```
 *
 * @throws DispatchLayoutError `NUM_EXPERTS`, `NUM_RANKS`; `OPTION` if `numLayers` is no positive integer.
 */
export function roundRobin(shape: NamedPlanShape): PlacementPlan {
  const { numExperts, numRanks } = shape;
  return planOf(shape, (rank, slot) => (slot * numRanks + rank < numExperts ? slot * numRanks + rank : -1));
}

function planOf(shape: NamedPlanShape, expertAt: (rank: number, slot: number) => number): PlacementPlan {
  const { numExperts, numRanks, numLayers = 1 } = shape;
  checkRanks(numRanks);
  checkPositive('NUM_EXPERTS', 'numExperts', numExperts);
  checkPositive('OPTION', 'numLayers', numLayers);
  const slotsPerRank = Math.ceil(numExperts / numRanks);
  const row = Array.from({ length: slotsPerRank * numRanks }, (_, index) =>
    expertAt(Math.floor(index / slotsPerRank), index % slotsPerRank),
  );
  return createPlan(new Array(numLayers).fill(row), { numRanks, numExperts });
}

function checkPositive(code: 'NUM_EXPERTS' | 'OPTION', name: string, count: unknown): void {
  if (Number.isInteger(count) && (count as number) > 0 && (count as number) <= 2 ** 24) return;
  throw wrongValue(code, name, count, 'It must be an integer from 1 to 16777216.');
}
