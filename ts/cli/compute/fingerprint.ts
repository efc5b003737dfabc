/**
 * The fingerprint of ids, by which two files of any formats can be compared.
 *
 * @module
 */
import { createHash } from 'node:crypto';
import { wordsOf } from '../../findings/observer.ts';
import type { IntegerArray } from '../library.ts';
import { startProgress } from '../progress.ts';
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
  const progress = startProgress('fingerprinting', routing.tokens * chosen.length, 'tokens');
  let numDone = 0;
  const perLayer = routing.tokens * routing.topk;
  const numAtOnce = Math.max(1, Math.floor(maxBytes / 4 / Math.max(1, perLayer)));
  try {
    for (let first = 0; first < chosen.length; first += numAtOnce) {
      const layers = chosen.slice(first, first + numAtOnce);
      // The pieces of one layer come in order
      const all = layers.length === 1 ? null : new Int32Array(layers.length * perLayer);
      for await (const { layer, firstToken, numTokens, ids } of routing.pieces({ layers })) {
        const converted = asInt32(ids, emptyId);
        if (all === null) hash.update(bytesOf(converted));
        else all.set(converted, layers.indexOf(layer) * perLayer + firstToken * routing.topk);
        numDone += numTokens;
        progress.update(numDone);
      }
      if (all !== null) hash.update(bytesOf(all));
    }
  } finally {
    progress.stop();
  }
  return hash.digest('hex');
}

/** Ids as int32, of larger ones the lower 32 bits. */
function asInt32(ids: IntegerArray, emptyId: number | bigint | undefined): Int32Array {
  const words = wordsOf(ids);
  const result = new Int32Array(ids.length);
  // Of 64 bits, the low half comes first
  const step = words.length / Math.max(1, ids.length);
  for (let i = 0; i < result.length; i++) result[i] = words[i * step];
  // biome-ignore lint/suspicious/noDoubleEquals: an id and the empty one may be a number and a bigint
  if (emptyId !== undefined) for (let i = 0; i < result.length; i++) if (ids[i] == emptyId) result[i] = -1;
  return result;
}

function bytesOf(ids: Int32Array): Uint8Array {
  return new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);
}
