/**
 * Counts how often experts were selected.
 *
 * @module
 */
import type { Capture } from '../../ts/capture/capture.ts';

/** `[numExperts]`: how often kept tokens of a layer, from one up to another, selected each expert. */
export function countExperts(
  { ids, numExperts, numTopk }: Capture,
  layer: number,
  from: number,
  to: number,
): Float64Array {
  const counts = new Float64Array(numExperts);
  const ofLayer = ids[layer];
  for (let at = from * numTopk; at < to * numTopk; at++) {
    // The number that stands for an empty slot is none of an expert, and a typed array ignores it
    counts[ofLayer[at]]++;
  }
  return counts;
}
