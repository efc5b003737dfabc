/**
 * JSON and JSONL: nested arrays of ids, the replies of servers, traces with a record for each step or token, choices in
 * long form, and counts.
 *
 * @module
 */
import type { ByteSource } from '../byte-source.ts';
import type { ArrayContents, Contents, CountContents, StoredArray } from '../contents.ts';
import type { Format } from '../format.ts';
import type { ReadOptions } from '../read-options.ts';
import { refuse } from '../routing-error.ts';
import { sumOfCounts } from './counts.ts';
import { SharedReader, scanIntegers } from './json/integer-source.ts';
import { isSpace, JsonReader, openArray, openObject, shortened } from './json/json-reader.ts';
import { ObjectWalker, TopObjects } from './json/objects.ts';
import { RecordTable } from './json/records.ts';
import { contentsOfReplies } from './json/replies.ts';
import { contentsOfLongForm } from './long-form.ts';
import { nothingKnown } from './npy.ts';
import { refuseChoice } from './refuse-choice.ts';
import { namingLines } from './text/text-fault.ts';

/** The format, with one value in a file or many. */
export const jsonFormat: Format = {
  name: 'json',
  noun: 'JSON',
  // A byte order mark and white space may come before what a document can begin with
  recognises: (head) => /^(?:\xef\xbb\xbf)?\s*(?:[[{"\d-]|true|false|null|$)/.test(latin1(head.subarray(0, 64))),
  open: (source, options) => namingLines(source, () => openJson(source, options)),
};

async function openJson(source: ByteSource, options: ReadOptions): Promise<Contents> {
  const reader = new JsonReader(source);
  await reader.skipByteOrderMark();
  const code = reader.peek() || (await reader.peekFurther());
  if (code === openObject || (code === openArray && startsWithObject(reader))) {
    return openObjects(reader, source, options);
  }
  return openArrays(source);
}

/** Whether an array begins with an object, or with null where others are objects. */
function startsWithObject({ bytes, at }: JsonReader): boolean {
  let first = at + 1;
  while (isSpace(bytes[first])) first++;
  return bytes[first] === openObject || bytes[first] === 'n'.charCodeAt(0);
}

async function openArrays(source: ByteSource): Promise<ArrayContents> {
  const { array, format } = await openNestedIntegers(source);
  return { kind: 'arrays', format, ...nothingKnown, arrays: [array], others: [] };
}

/**
 * Opens a file that is nested arrays of integers, of one axis or more. In JSONL each line is an element of the first
 * axis.
 *
 * @throws {@link TextFault} if it is something else.
 */
async function openNestedIntegers(
  source: ByteSource,
): Promise<{ readonly array: StoredArray; readonly format: 'json' | 'jsonl' }> {
  const open = async (isLines: boolean): Promise<{ array: StoredArray; next: number }> => {
    const reader = new JsonReader(source);
    await reader.skipByteOrderMark();
    const array = await scanIntegers(reader, new SharedReader(source), { isLines, keeps: true });
    return { array, next: isLines ? 0 : reader.peek() || (await reader.peekFurther()) };
  };
  const { array, next } = await open(false);
  return next === 0 ? { array, format: 'json' } : { array: (await open(true)).array, format: 'jsonl' };
}

async function openObjects(reader: JsonReader, source: ByteSource, options: ReadOptions): Promise<Contents> {
  const walker = new ObjectWalker(reader, source);
  const records = new RecordTable();
  const objects = new TopObjects(reader);
  while (await objects.next()) {
    records.add(await walker.readObject(), walker, reader);
  }
  const { numExperts } = walker;
  if (options.array !== undefined && walker.replies.length === 0) refuseChoice(source.name, options.array);
  const format = objects.numValues > 1 ? 'jsonl' : 'json';
  if (!records.isEmpty) return records.contents(source, numExperts, format);
  if (walker.replies.length > 0) return contentsOfReplies(walker.replies, source, options, format);
  if (walker.counts.length > 0) return contentsOfCounts(walker.counts, source, format);
  if (!walker.longForm.isEmpty) {
    return { format, ...nothingKnown, numExperts, ...contentsOfLongForm(walker.longForm, source.name) };
  }
  return decline(walker, source);
}

async function contentsOfCounts(
  arrays: readonly StoredArray[],
  source: ByteSource,
  format: 'json' | 'jsonl',
): Promise<CountContents> {
  const axes = { 2: ['layers', 'topk'], 3: ['tokens', 'layers', 'topk'] } as const;
  const parts = arrays.map((array) => {
    const { length } = array.shape;
    if (length === 2 || length === 3) return { array, axes: axes[length] };
    const problem = `has counts of [${array.shape.join(', ')}], where [layers, experts] or [steps, layers, experts] is known`;
    const remedy = 'save the counts as [layers, experts]';
    return refuse('DAMAGED', problem, { file: source.name, place: 'logical_count', remedy });
  });
  const sums = await sumOfCounts(parts, source.name);
  const numExperts = sums.counts[0]?.length ?? null;
  return { kind: 'counts', format, ...nothingKnown, producer: 'SGLang', numbering: 'logical', numExperts, ...sums };
}

/** Refuses a file that has no ids of experts, and says what it seems to be. */
function decline({ seems, otherKeys }: ObjectWalker, { name: file }: ByteSource): never {
  const [kind] = seems;
  const keys = otherKeys.size === 0 ? 'it has no keys' : `its keys are ${[...otherKeys].map(shortened).join(', ')}`;
  const problem =
    kind === undefined ? `has no ids of experts that are known: ${keys}` : `is not routing: it seems to be ${kind}`;
  const remedy = 'open the file that has the ids; those of your own can be saved as nested arrays, or as .npy';
  return refuse('NOT_ROUTING', problem, { file, remedy });
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
