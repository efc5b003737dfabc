/**
 * The balanced packing of EPLB.
 *
 * @module
 */

/** Where each item is: its pack, and its place in the pack. */
export interface Packing {
  readonly packOf: Int32Array;
  readonly placeOf: Int32Array;
}

/**
 * Packs items into packs of equal numbers of items: the heaviest first, each into the lightest pack that has room. Of
 * equal items, and of equal packs, the first one comes first. With one item for each pack, item i is in pack i.
 *
 * @param weights of the items. Their number must be a multiple of `numPacks`.
 */
export function packBalanced(weights: Float32Array, numPacks: number): Packing {
  const numItems = weights.length;
  const itemsPerPack = numItems / numPacks;
  const packOf = new Int32Array(numItems);
  const placeOf = new Int32Array(numItems);
  if (itemsPerPack === 1) return { packOf: packOf.map((_, item) => item), placeOf };
  // The sums are rounded to 32 bits after each addition, as in EPLB
  const packWeights = new Float32Array(numPacks);
  const packSizes = new Int32Array(numPacks);
  const heaviestFirst = packOf.map((_, item) => item).sort((a, b) => weights[b] - weights[a] || a - b);
  for (const item of heaviestFirst) {
    let pack = -1;
    for (let each = 0; each < numPacks; each++) {
      if (packSizes[each] === itemsPerPack) continue;
      if (pack === -1 || packWeights[each] < packWeights[pack]) pack = each;
    }
    packOf[item] = pack;
    placeOf[item] = packSizes[pack]++;
    packWeights[pack] += weights[item];
  }
  return { packOf, placeOf };
}
