/**
 * Which ids are neither experts nor empty.
 *
 * @module
 */

/** Whether an id is neither `-1` (no selection) nor an expert. */
export function isInvalidExpert(id: number | bigint, numExperts: number): boolean {
  return id < -1 || id >= numExperts;
}
