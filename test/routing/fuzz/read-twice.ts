/**
 * What must hold for every file: it is read, twice the same, with every piece inside its buffer and the declared shape;
 * or it is refused with an error that names the file and a remedy.
 *
 * @module
 */
import { strict as assert } from 'node:assert';
import {
  type OpenRoutingOptions,
  openRouting,
  type Routing,
  RoutingError,
  type RoutingSource,
} from '../../../ts/routing/index.ts';
import { idTypes } from '../../../ts/values/id-types.ts';

/** The most ids that are read to their end. Of longer ones, such as rows that are repeated by a stride of 0, a part is. */
const maxIds = 2 ** 17;
/** Messages are read by people. */
const maxMessage = 8000;

/**
 * Reads a source, or sees it refused.
 *
 * @param open gives the source anew: a stream can be read once.
 * @param name how messages must call it.
 * @returns the message of the error; null if it was read.
 * @throws if it is neither read as it must be nor refused as it must be.
 */
export async function readTwice(
  open: () => RoutingSource,
  options: OpenRoutingOptions,
  name: string,
): Promise<string | null> {
  const first = await readOrRefuse(open(), options, name, 1);
  const second = await readOrRefuse(open(), options, name, 3);
  assert.deepEqual(second, first, 'it is read differently the second time');
  return typeof first === 'string' ? first : null;
}

/** Characters that write over other text on a terminal, or turn it around. */
const unprintable = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

type Outcome = string | { readonly layers: readonly number[]; readonly digests: readonly number[] };

async function readOrRefuse(
  source: RoutingSource,
  options: OpenRoutingOptions,
  name: string,
  tokensPerPiece: number,
): Promise<Outcome> {
  try {
    const routing = await openRouting(source, options);
    try {
      return await read(routing, tokensPerPiece);
    } finally {
      routing.close();
    }
  } catch (error) {
    if (!(error instanceof RoutingError)) throw error;
    checkMessage(error, name);
    return error.message;
  }
}

/** Reads all pieces: into the default buffer, and into one for a few tokens. */
async function read(routing: Routing, tokensPerPiece: number): Promise<Outcome> {
  const { layers, tokens, topk } = routing;
  for (const layer of layers) assert(Number.isSafeInteger(layer), `layer ${layer}`);
  for (const [what, count] of Object.entries({ tokens, topk }))
    assert(Number.isSafeInteger(count) && count >= 0, `${what} ${count}`);
  assert.equal(new Set(layers).size, layers.length, `layers ${layers} are not different`);
  const shown = [...routing.notes, routing.producer ?? '', routing.axes, routing.axesBecause];
  assert(
    !shown.some((text) => unprintable.test(text)),
    `what is shown has a control character: ${JSON.stringify(shown)}`,
  );
  if (routing.tokensOfLayer !== null) {
    assert.equal(routing.tokensOfLayer.length, layers.length);
    assert(routing.tokensOfLayer.every((count) => count >= 0 && count <= tokens));
  }
  const whole = await digestsOf(
    routing,
    layers.map((_, index) => index),
  );
  if (layers.length * tokens * topk > maxIds) return { layers, digests: [] };
  const pieces = await digestsOf(
    routing,
    layers.map((_, index) => index),
    tokensPerPiece,
  );
  assert.deepEqual(pieces, whole, 'it is read differently in small pieces');
  if (layers.length > 1) {
    const last = layers.length - 1;
    assert.equal((await digestsOf(routing, [last], tokensPerPiece))[last], whole[last], 'its last layer alone differs');
  }
  return { layers, digests: whole };
}

/** A number for the ids of each layer, in the order of its tokens. */
async function digestsOf(routing: Routing, chosen: readonly number[], tokensPerPiece?: number): Promise<number[]> {
  const { layers, tokens, topk, idType } = routing;
  const { array } = idTypes[idType];
  const into = tokensPerPiece === undefined ? undefined : new array(Math.max(1, tokensPerPiece * topk));
  const digests = layers.map(() => 0);
  const next = layers.map(() => 0);
  let numIds = 0;
  for await (const { layer, firstToken, numTokens, ids } of routing.pieces({ layers: chosen, into })) {
    assert(chosen.includes(layer), `a piece is of layer ${layer}`);
    assert(numTokens > 0 && Number.isInteger(numTokens), `a piece has ${numTokens} tokens`);
    assert.equal(firstToken, next[layer], 'a piece does not follow the one before');
    assert.equal(ids.length, numTokens * topk, 'a piece has another shape');
    assert(ids instanceof array);
    if (into !== undefined) assert.equal(ids.buffer, into.buffer, 'a piece is not in the buffer of the caller');
    next[layer] = firstToken + numTokens;
    for (const id of ids.length <= maxIds ? ids : ids.subarray(0, maxIds)) {
      digests[layer] = (Math.imul(digests[layer], 31) + Number(BigInt.asIntN(32, BigInt(id)))) | 0;
    }
    numIds += ids.length;
    if (numIds > maxIds && layers.length * tokens * topk > maxIds) return digests;
  }
  if (topk > 0) for (const layer of chosen) assert.equal(next[layer], tokens, `layer ${layer} has fewer tokens`);
  return digests;
}

function checkMessage(error: RoutingError, name: string): void {
  const { message, file, place, remedy } = error;
  assert(file.startsWith(name) || message.includes(name), `the file is called '${file}': ${message}`);
  assert(remedy.trim() !== '' && message.endsWith(remedy), `the message has no remedy: ${message}`);
  assert(place === undefined || message.includes(place), `the place is missing: ${message}`);
  assert(message.length <= maxMessage, `the message has ${message.length} characters: ${message.slice(0, 500)}`);
  assert(!unprintable.test(message), `the message has a control character: ${JSON.stringify(message)}`);
  assert(!/\b(undefined|\[object)\b/.test(message), `the message shows a value of the program: ${message}`);
}
