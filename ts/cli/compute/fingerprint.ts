/**
 * The fingerprint of ids, by which two files of any formats can be compared.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import type { ChosenRouting } from '../read/routing.ts';

/** The most bytes of layers that are kept, so that layers which take turns in a file are not read one by one. */
const maxBytes = 2 ** 26;

/**
 * The SHA-256 of the ids of all chosen layers as int32, little-endian, in the order `[layers, tokens, topk]`, in
 * hexadecimal digits. An empty slot is -1.
 *
 * @param emptyId the id that stands for an empty slot, beside -1.
 */
export async function fingerprint(
  { routing, chosen }: ChosenRouting,
  emptyId: number | bigint | undefined,
): Promise<string> {
  const hash = createHash('sha256');
  const perLayer = routing.tokens * routing.topk;
  const numAtOnce = Math.max(1, Math.floor(maxBytes / 4 / Math.max(1, perLayer)));
  for (let first = 0; first < chosen.length; first += numAtOnce) {
    const layers = chosen.slice(first, first + numAtOnce);
    if (layers.length === 1) {
      // The pieces of one layer come in order.
      for await (const { ids } of routing.pieces({ layers })) hash.update(bytesOf(asInt32(ids, emptyId)));
      continue;
    }
    const all = new Int32Array(layers.length * perLayer);
    for await (const { layer, firstToken, ids } of routing.pieces({ layers })) {
      all.set(asInt32(ids, emptyId), layers.indexOf(layer) * perLayer + firstToken * routing.topk);
    }
    hash.update(bytesOf(all));
  }
  return hash.digest('hex');
}

function asInt32(ids: ArrayLike<number | bigint>, emptyId: number | bigint | undefined): Int32Array {
  const result = new Int32Array(ids.length);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i];
    // biome-ignore lint/suspicious/noDoubleEquals: an id and the empty one may be a number and a bigint
    result[i] = id == emptyId ? -1 : typeof id === 'bigint' ? Number(BigInt.asIntN(32, id)) : id;
  }
  return result;
}

function bytesOf(ids: Int32Array): Uint8Array {
  return new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
}
