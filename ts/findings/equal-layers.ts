/**
 * Finds layers that have the same ids as another one.
 *
 * @module
 */
import type { Routing } from '../routing/index.ts';
import type { LayerObservation } from './observer.ts';

/**
 * The indices of layers, among the chosen ones, that have the same ids as one before. Only layers whose experts have the
 * same counts are read again.
 *
 * @param chosen the indices of the observed layers in the routing.
 */
export async function findEqualLayers(
  routing: Routing,
  chosen: readonly number[],
  layers: readonly LayerObservation[],
): Promise<number[]> {
  const byCounts = new Map<string, number[]>();
  layers.forEach(({ counts, numTokens }, index) => {
    if (numTokens === 0 || routing.topk === 0) return;
    const digest = new Digest();
    digest.add(counts);
    byCounts.set(digest.text, [...(byCounts.get(digest.text) ?? []), index]);
  });
  const suspects = [...byCounts.values()].filter(({ length }) => length > 1).flat();
  const seen = new Set<string>();
  const equal: number[] = [];
  for (const index of suspects.sort((left, right) => left - right)) {
    const digest = new Digest();
    for await (const { ids } of routing.pieces({ layers: [chosen[index]] })) digest.add(ids);
    if (seen.has(digest.text)) equal.push(index);
    seen.add(digest.text);
  }
  return equal;
}

/**
 * 64 bits that depend on every byte: two hashes of 32 bits, of the kind FNV-1a, with different multipliers. Layers that
 * differ have the same ones once in 10^19 times. Whoever wants two layers to be taken for equal can write the same ids
 * into both, so that nothing is won by a hash that nobody can invert, which browsers have in secure contexts only.
 */
class Digest {
  #first = 0x811c9dc5 | 0;
  #second = 0x9e3779b9 | 0;

  /** Adds the bytes of an array. Pieces of it may come one after the other if they have whole elements. */
  add(array: ArrayBufferView): void {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    let first = this.#first;
    let second = this.#second;
    for (let at = 0; at < bytes.length; at++) {
      first = Math.imul(first ^ bytes[at], 0x01000193);
      second = Math.imul(second ^ bytes[at], 0x5bd1e995);
      second ^= second >>> 15;
    }
    this.#first = first;
    this.#second = second;
  }

  get text(): string {
    return `${this.#first >>> 0},${this.#second >>> 0}`;
  }
}
