/**
 * The replies of servers that return the experts of each token, as vLLM, SGLang, dynamo and prime-rl write them. All of
 * them have tokens first.
 *
 * @module
 */
import { type IdType, idTypes, isIdType } from '../../../values/id-types.ts';
import { denseStrides, sizeOf } from '../../../values/shape.ts';
import { gridOfArrays } from '../../array-grid.ts';
import { type ByteSource, inBlocks } from '../../byte-source.ts';
import type { IdContents, StoredArray } from '../../contents.ts';
import type { ReadOptions } from '../../read-options.ts';
import { refuse } from '../../routing-error.ts';
import { openNpy } from '../npy.ts';
import { TextFault } from '../text/text-fault.ts';
import { openBase64 } from './base64-source.ts';
import { SharedReader, scanIntegers } from './integer-source.ts';
import { joinedArrays } from './joined-array.ts';
import { damagedRemedy } from './json-reader.ts';
import type { Fields, ReplyIds, TextPlace } from './objects.ts';

/** Ids of one reply, as an array. */
interface OpenReply {
  readonly producer: string;
  readonly array: StoredArray;
  /** What a reader should know of it. */
  readonly note: string | null;
}

/**
 * Puts the ids of all replies of a file together: the tokens of each follow those of the one before.
 *
 * @param replies one or more of them.
 * @throws {@link RoutingError} or {@link TextFault} if they are damaged, or say too little.
 */
export async function contentsOfReplies(
  replies: readonly ReplyIds[],
  source: ByteSource,
  options: ReadOptions,
  format: 'json' | 'jsonl',
): Promise<IdContents> {
  const chosen = chooseReplies(replies, source, options.array);
  const shared = new SharedReader(inBlocks(source));
  const open: OpenReply[] = [];
  for (const reply of chosen) {
    const opened = await openReply(reply, shared, options);
    checkShape(opened.array, open[0]?.array, reply, source);
    open.push(opened);
  }
  const producers = [...new Set(open.map(({ producer }) => producer))];
  const notes = open.slice(0, maxNotes).flatMap(({ note }) => note ?? []);
  const numNulls = replies.filter(({ value }) => value.kind === 'null').length;
  if (numNulls > 0) notes.push(`${numNulls} of ${replies.length} replies have no ids: null.`);
  if (open.length > 1) notes.push(`The tokens of ${open.length} replies follow one another.`);
  const arrays = joinedArrays(open.map(({ array }) => array));
  return {
    kind: 'ids',
    format,
    producer: producers.join(', '),
    // vLLM takes the ids before it maps experts to their replicas
    numbering: producers.length === 1 && producers[0] === 'vLLM' ? 'logical' : null,
    rank: null,
    numExperts: null,
    notes,
    axes: 'tokens,layers,topk',
    axesBecause: `${producers.join(' and ')} write${producers.length === 1 ? 's' : ''} tokens first`,
    grid: gridOfArrays(arrays.map((array) => ({ array, axes: ['tokens', 'layers', 'topk'] }))),
  };
}

const maxNotes = 3;
/** The magic number of `.npy` in base64. */
const npyStart = 'k05VTVBZ';

function chooseReplies(replies: readonly ReplyIds[], source: ByteSource, name: string | undefined): ReplyIds[] {
  const withIds = replies.filter(({ value }) => value.kind !== 'null');
  const file = source.name;
  if (withIds.length === 0) {
    const remedy = 'ask the server for them: vLLM by --enable-return-routed-experts, SGLang by return_routed_experts';
    refuse('NOT_ROUTING', 'has replies without the ids of experts: routed_experts is null', { file, remedy });
  }
  if (name === undefined) return withIds;
  const chosen = withIds.filter(({ path }) => path === name);
  if (chosen.length > 0) return chosen;
  const names = [...new Set(withIds.map(({ path }) => path))];
  const shown = names.length > 8 ? [...names.slice(0, 8), '…'] : names;
  return refuse('CHOICE', `has no array '${name}'`, { file, remedy: `choose one of ${shown.join(', ')}` });
}

async function openReply(reply: ReplyIds, shared: SharedReader, options: ReadOptions): Promise<OpenReply> {
  const { value, path, owner } = reply;
  const { text } = shared;
  if (value.kind === 'arrays') {
    const reader = shared.take();
    reader.seek(value.position);
    reader.path.splice(0, reader.path.length, path);
    const array = { ...(await scanIntegers(reader, shared)), name: path };
    shared.giveBack(reader);
    return { producer: producerOf(owner), array, note: null };
  }
  if (value.kind === 'described') return openDescribed(path, value.fields, text);
  if (value.kind === 'null') throw new Error('replies without ids have been left out');
  const base64 = { text, ...value.text, path };
  const start = new Uint8Array(npyStart.length);
  await text.read(base64.position, start);
  if (String.fromCharCode(...start) === npyStart) {
    const npy = await openBase64(base64, `${text.name}, ${path}`);
    return { producer: owner === '' ? 'prime-rl' : producerOf(owner), array: await openNpy(npy, path), note: null };
  }
  const bytes = await openBase64(base64);
  return openRaw(reply, value.text, bytes, options);
}

function producerOf(owner: string): string {
  return ['meta_info', 'sglext', 'sgl_ext'].includes(owner) ? 'SGLang' : 'vLLM';
}

/** Opens an object with `data`, `shape` and `dtype`. */
async function openDescribed(
  path: string,
  { data, shape, dtype, start }: Fields,
  source: ByteSource,
): Promise<OpenReply> {
  if (data === null || shape === null) throw new Error('objects without them are not taken');
  const fail = (problem: string): never => {
    throw new TextFault('DAMAGED', data.position, path, problem, damagedRemedy);
  };
  const idType = (dtype ?? 'no dtype').replace(/^(torch|np|numpy)\./, '');
  if (!isIdType(idType))
    return fail(`has ${dtype === null ? idType : `the dtype '${dtype}'`}, which is none of integers`);
  if (shape.some((length) => !(Number.isSafeInteger(length) && length >= 0)))
    fail(`has the shape [${shape.join(', ')}]`);
  const bytes = await openBase64({ text: source, ...data, path: path === '' ? 'data' : `${path}.data` });
  const needed = sizeOf(shape) * idTypes[idType].bytes;
  if (bytes.size !== needed) {
    fail(`has ${bytes.size} bytes of data, where ${idType} [${shape.join(', ')}] needs ${needed}`);
  }
  const note = start === null || start === 0 ? null : `The first token with ids is token ${start} of its sequence.`;
  return { producer: 'prime-rl', array: denseArray(path, idType, shape, bytes), note };
}

/** Opens bytes that say nothing of their shape. */
function openRaw(
  { path, around }: ReplyIds,
  text: TextPlace,
  bytes: ByteSource,
  { numLayers, numTopk, idType = isIdType(around.dtype) ? around.dtype : 'int32' }: ReadOptions,
): OpenReply {
  const fail = (problem: string, remedy: string): never => {
    throw new TextFault('CHOICE', text.position, path, problem, remedy);
  };
  const { promptTokens, completionTokens } = around;
  const numIds = bytes.size / idTypes[idType].bytes;
  // The last token has not been an input, so that it has no ids
  const expected =
    promptTokens === null || completionTokens === null
      ? null
      : promptTokens + completionTokens - 1 - (around.start ?? 0);
  const knows = `has ${numIds} ids as ${idType}, without their shape`;
  if (numLayers === undefined || numTopk === undefined) {
    const perToken = expected === null ? Number.NaN : numIds / expected;
    const hint = Number.isInteger(perToken) ? ` (their product is ${perToken}, by the number of tokens)` : '';
    return fail(knows, `give numLayers and numTopk of the model${hint}`);
  }
  const numTokens = numIds / (numLayers * numTopk);
  if (!Number.isInteger(numTokens)) {
    const problem = `${knows}, which are not whole tokens of ${numLayers} layers and ${numTopk} ids`;
    return fail(problem, 'correct numLayers, numTopk or idType');
  }
  const array = denseArray(path, idType, [numTokens, numLayers, numTopk], bytes);
  if (expected === null || numTokens === expected) return { producer: 'SGLang', array, note: null };
  if (numTokens !== expected + 1) {
    const note = `${path} has the ids of ${numTokens} tokens, where its request has ${expected} with ids.`;
    return { producer: 'SGLang', array, note };
  }
  const shape = [expected, numLayers, numTopk];
  const note = `${path} has a row more than its request has tokens with ids; the last one is left out.`;
  return { producer: 'SGLang', array: { ...array, shape }, note };
}

function denseArray(name: string, type: IdType, shape: readonly number[], source: ByteSource): StoredArray {
  return { name, type, littleEndian: true, shape, strides: denseStrides(shape), source, position: 0 };
}

function checkShape({ shape }: StoredArray, first: StoredArray | undefined, reply: ReplyIds, source: ByteSource): void {
  const shown = `[${shape.join(', ')}]`;
  const details = { file: source.name, place: reply.path === '' ? undefined : reply.path };
  if (shape.length !== 3) {
    const remedy = 'save the ids as [tokens, layers, topk]';
    refuse('DAMAGED', `is ${shown}, where replies have [tokens, layers, topk]`, { ...details, remedy });
  }
  if (first === undefined || (shape[1] === first.shape[1] && shape[2] === first.shape[2])) return;
  const problem = `is ${shown}, and ${first.name} is [${first.shape.join(', ')}]: they are not of one model`;
  refuse('CHOICE', problem, { ...details, remedy: 'choose one by its name, or split the file' });
}
