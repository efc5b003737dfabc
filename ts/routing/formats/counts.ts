/**
 * Counts of tokens by expert, which several producers keep instead of ids.
 *
 * @module
 */
import { idTypes } from '../../values/id-types.ts';
import { type ArrayPart, gridOfArrays } from '../array-grid.ts';
import type { CountContents } from '../contents.ts';
import { refuse } from '../routing-error.ts';

/** How many counts are read at a time, if a row of them is not longer. */
const pieceCounts = 2 ** 16;

/** The most counts, over all layers, that are read; the library itself takes no more experts. */
export const maxCounts = 2 ** 24;

/**
 * Sums counts over all steps.
 *
 * @param parts arrays in which an axis of `tokens` stands for steps, and `topk` for experts.
 * @throws {@link RoutingError} `DAMAGED` if a count is negative, or `TOO_LARGE` if there are too many experts
 */
export async function sumOfCounts(
  parts: readonly ArrayPart[],
  file: string,
): Promise<Pick<CountContents, 'layers' | 'counts'>> {
  const grid = gridOfArrays(parts);
  const { layers, numTopk: numExperts } = grid;
  if (numExperts > maxCounts || layers.length * numExperts > maxCounts) {
    refuse('TOO_LARGE', `has counts of ${layers.length} layers and ${numExperts} experts`, {
      file,
      remedy: 'save the counts as [steps, layers, experts]',
    });
  }
  const counts = layers.map(() => new Float64Array(numExperts));
  if (numExperts === 0) return { layers, counts };
  const into = new idTypes[grid.idType].array(numExperts * Math.max(1, Math.floor(pieceCounts / numExperts)));
  const allLayers = layers.map((_, index) => index);
  for await (const { layer, firstToken, numTokens, ids } of grid.pieces(allLayers, into)) {
    const sums = counts[layer];
    for (let i = 0; i < numTokens * numExperts; i++) {
      const count = Number(ids[i]);
      if (count < 0) {
        const step = firstToken + Math.floor(i / numExperts);
        refuse('DAMAGED', `has the count ${count}`, {
          file,
          place: `step ${step}, layer ${layers[layer]}, expert ${i % numExperts}`,
          remedy: 'counts are 0 or more; if these are ids, save them as [layers, tokens, topk]',
        });
      }
      sums[i % numExperts] += count;
    }
  }
  return { layers, counts };
}
