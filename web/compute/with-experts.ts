/**
 * The same capture for another number of experts.
 *
 * @module
 */
import { type Capture, emptyIn, keptArray } from '../../ts/capture/capture.ts';

/** The fewest experts that a capture can be of: one more than the last one that was selected. */
export function fewestExperts({ counts }: Capture): number {
  let fewest = 1;
  for (const ofLayer of counts) {
    for (let expert = ofLayer.length; expert > fewest; expert--) {
      if (ofLayer[expert - 1] > 0) fewest = expert;
    }
  }
  return fewest;
}

/** The capture as if ids could name so many experts, which are no fewer than {@link fewestExperts}. */
export function withExperts(capture: Capture, numExperts: number): Capture {
  const array = keptArray(numExperts);
  return {
    ...capture,
    numExperts,
    counts: capture.counts.map((ofLayer) => {
      const counts = new Float64Array(numExperts);
      counts.set(ofLayer.subarray(0, numExperts));
      return counts;
    }),
    ids: capture.ids.map((ofLayer) => {
      if (ofLayer instanceof array) return ofLayer;
      const ids = new array(ofLayer.length);
      const empty = emptyIn(ofLayer);
      for (let at = 0; at < ids.length; at++) ids[at] = ofLayer[at] === empty ? emptyIn(ids) : ofLayer[at];
      return ids;
    }),
  };
}
