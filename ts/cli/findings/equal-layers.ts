/**
 * Finds layers that have the same ids as another one.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import type { ChosenRouting } from '../read/routing.ts';
import type { LayerObservation } from './observer.ts';

/**
 * The indices of layers, among the chosen ones, that have the same ids as one before. Only layers whose experts have the
 * same counts are read again.
 */
export async function findEqualLayers(
  { routing, chosen }: ChosenRouting,
  layers: readonly LayerObservation[],
): Promise<number[]> {
  const byCounts = new Map<string, number[]>();
  layers.forEach(({ counts, numTokens }, index) => {
    if (numTokens === 0 || routing.topk === 0) return;
    const key = createHash('sha256').update(new Uint8Array(counts.buffer)).digest('hex');
    byCounts.set(key, [...(byCounts.get(key) ?? []), index]);
  });
  const suspects = [...byCounts.values()].filter(({ length }) => length > 1).flat();
  const seen = new Set<string>();
  const equal: number[] = [];
  for (const index of suspects.sort((left, right) => left - right)) {
    const hash = createHash('sha256');
    for await (const { ids } of routing.pieces({ layers: [chosen[index]] })) {
      hash.update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength));
    }
    const digest = hash.digest('hex');
    if (seen.has(digest)) equal.push(index);
    seen.add(digest);
  }
  return equal;
}
