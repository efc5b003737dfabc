/**
 * Walks over the objects of a JSON file, and takes from them what routing files have, under the keys that their
 * producers use. Everything else is skipped.
 *
 * @module
 */
import type { ByteSource } from '../../byte-source.ts';
import type { StoredArray } from '../../contents.ts';
import { LongForm } from '../long-form.ts';
import { SharedReader, scanIntegers } from './integer-source.ts';
import { isDigit, type JsonReader, minus, openArray, openObject, pathText, quote } from './json-reader.ts';
import { NestedIntegers } from './nested-integers.ts';

/** What an object has under keys that are known; null where the key is missing, or has another kind of value. */
export class Fields {
  layer: number | null = null;
  rank: number | null = null;
  numTokens: number | null = null;
  numTopk: number | null = null;
  numExperts: number | null = null;
  mtpIndex: number | null = null;
  token: number | null = null;
  expert: number | null = null;
  slot: number | null = null;
  promptTokens: number | null = null;
  completionTokens: number | null = null;
  /** The first token that has ids: those before it were left out. */
  start: number | null = null;
  stage: string | null = null;
  block: string | null = null;
  dtype: string | null = null;
  /** The text of `data`. */
  data: TextPlace | null = null;
  shape: readonly number[] | null = null;
  /** How many `token_ids` there are. */
  numTokenIds: number | null = null;
}

type NumberField = { [Key in keyof Fields]: Fields[Key] extends number | null ? Key : never }[keyof Fields];
type TextField = { [Key in keyof Fields]: Fields[Key] extends string | null ? Key : never }[keyof Fields];

/** What is done with the value of a key. */
type Role =
  | { readonly kind: 'number'; readonly field: NumberField }
  | { readonly kind: 'text'; readonly field: TextField }
  | { readonly kind: 'ids' | 'reply' | 'container' | 'data' | 'shape' | 'token ids' | 'counts' }
  | { readonly kind: 'look-alike'; readonly what: string };

const numberRole = (field: NumberField): Role => ({ kind: 'number', field });
const textRole = (field: TextField): Role => ({ kind: 'text', field });
const lookAlike = (what: string): Role => ({ kind: 'look-alike', what });
const container: Role = { kind: 'container' };
const aSelection = lookAlike('a selection of experts, without tokens');

/** The keys that are known. Values of other kinds than theirs are skipped. */
const roles: ReadonlyMap<string, Role> = new Map<string, Role>([
  ['layer', numberRole('layer')],
  ['layer_id', numberRole('layer')],
  ['layer_idx', numberRole('layer')],
  ['rank', numberRole('rank')],
  ['num_tokens', numberRole('numTokens')],
  ['topk', numberRole('numTopk')],
  ['top_k', numberRole('numTopk')],
  ['num_experts', numberRole('numExperts')],
  ['mtp_idx', numberRole('mtpIndex')],
  ['token', numberRole('token')],
  ['token_idx', numberRole('token')],
  ['expert', numberRole('expert')],
  ['expert_id', numberRole('expert')],
  ['expert_idx', numberRole('expert')],
  ['slot', numberRole('slot')],
  ['prompt_tokens', numberRole('promptTokens')],
  ['completion_tokens', numberRole('completionTokens')],
  ['routed_experts_start_len', numberRole('start')],
  ['start', numberRole('start')],
  ['stage', textRole('stage')],
  ['block', textRole('block')],
  ['dtype', textRole('dtype')],
  ['routed_experts_dtype', textRole('dtype')],
  ['top_indices', { kind: 'ids' }],
  ['topk_ids', { kind: 'ids' }],
  ['routed_experts', { kind: 'reply' }],
  ['prompt_routed_experts', { kind: 'reply' }],
  ['data', { kind: 'data' }],
  ['shape', { kind: 'shape' }],
  ['token_ids', { kind: 'token ids' }],
  ['logical_count', { kind: 'counts' }],
  ['choices', container],
  ['meta_info', container],
  ['sgl_ext', container],
  ['sglext', container],
  ['nvext', container],
  ['usage', container],
  ['traces', container],
  ['activations', container],
  ['_meta', container],
  ['physical_to_logical_map', lookAlike('a map of slots to experts, which says where the experts are')],
  ['model_maps', lookAlike('maps of slots to experts, which say where the experts of several models are')],
  ['layer_list', lookAlike('a map of experts to devices, as vllm-ascend reads it')],
  ['initial_global_assignments', lookAlike('a map of experts to slots, as TensorRT-LLM reads it')],
  ['num_experts_per_token', lookAlike('the description of expert statistics of TensorRT-LLM, without the statistics')],
  ['selected_experts', aSelection],
  ['shared_experts', aSelection],
  ['top_experts_by_W', lookAlike('a ranking of experts by their weights, without tokens')],
]);

/** How deep containers lie in each other in the files that are known, and some more. */
const maxDepth = 8;

/** Where the characters of a string are, between its quotes. */
export interface TextPlace {
  readonly position: number;
  readonly length: number;
}

/** Ids that a reply has under `routed_experts`. */
export interface ReplyIds {
  readonly path: string;
  /** The key above that of the ids, such as `meta_info`; empty at the top. */
  readonly owner: string;
  /** Base64 of a file or of raw bytes; an object that describes its `data`; nested arrays at a position; or nothing. */
  readonly value:
    | { readonly kind: 'text'; readonly text: TextPlace }
    | { readonly kind: 'described'; readonly fields: Fields }
    | { readonly kind: 'arrays'; readonly position: number }
    | { readonly kind: 'null' };
  /** The fields of the object in which they are. They are complete once it has been read to its end. */
  readonly around: Fields;
}

/** The most replies of one file. Each takes about a kilobyte of memory. */
const maxReplies = 2 ** 16;
/** The most ids that one record can have: 64 MiB. */
const maxRecordIds = 2 ** 24;

/** Reads one object of the top of a file after the other, and collects what is in them. */
export class ObjectWalker {
  readonly replies: ReplyIds[] = [];
  /** Choices that are objects of their own. */
  readonly longForm = new LongForm();
  /** The arrays of `logical_count`. */
  readonly counts: StoredArray[] = [];
  /** The number of experts that an object has said last. */
  numExperts: number | null = null;
  /** What the file seems to be instead of routing. */
  readonly seems = new Set<string>();
  /** Keys of which nothing is known, some of them. */
  readonly otherKeys = new Set<string>();
  /** The ids of the record that was read last, in its order. */
  ids = new Int32Array(1024);
  numIds = 0;
  /** The shape of these ids; null if the last object was not a record. */
  idsShape: readonly number[] | null = null;
  readonly #reader: JsonReader;
  /** For what is read again. */
  readonly #shared: SharedReader;
  readonly #integers = new NestedIntegers();

  constructor(reader: JsonReader, source: ByteSource) {
    this.#reader = reader;
    this.#shared = new SharedReader(source);
  }

  /** Reads the object that begins here. */
  readObject(): Promise<Fields> {
    this.idsShape = null;
    this.numIds = 0;
    return this.#walk('', 0);
  }

  async #walk(owner: string, depth: number): Promise<Fields> {
    const reader = this.#reader;
    const { path } = reader;
    const fields = new Fields();
    reader.at++;
    for (let isFirst = true; ; isFirst = false) {
      let key = reader.nextKeyInWindow(isFirst);
      if (key === undefined) key = await reader.nextKey(isFirst);
      if (key === null) break;
      path.push(key);
      const code = reader.peek() || (await reader.peekFurther());
      const role = roles.get(key);
      if (role?.kind === 'number' && (isDigit(code) || code === minus)) fields[role.field] = reader.readNumber();
      else if (role?.kind === 'text' && code === quote) fields[role.field] = reader.readString();
      else if (role?.kind === 'ids' && code === openArray) {
        if (!this.#readIds()) await this.#readMoreIds();
      } else if (role === undefined || role.kind === 'number' || role.kind === 'text' || role.kind === 'ids') {
        if (role === undefined && depth === 0 && this.otherKeys.size < 8) this.otherKeys.add(key);
        if (!reader.skipInWindow()) await reader.skipValue();
      } else await this.#readStructure(key, role, code, fields, owner, depth);
      path.pop();
    }
    this.#end(fields, owner);
    return fields;
  }

  async #readStructure(
    key: string,
    role: Role,
    code: number,
    fields: Fields,
    owner: string,
    depth: number,
  ): Promise<void> {
    const reader = this.#reader;
    const isArray = code === openArray;
    if (role.kind === 'reply') return this.#readReply(code, fields, owner, depth);
    if (role.kind === 'container' && (isArray || code === openObject) && depth < maxDepth) {
      return this.#walkContainer(key, isArray, fields, depth);
    }
    if (role.kind === 'data' && code === quote) fields.data = await this.#readTextPlace();
    else if (role.kind === 'shape' && isArray) fields.shape = await this.#readShape();
    else if (role.kind === 'token ids' && isArray) fields.numTokenIds = await this.#countElements();
    else if (role.kind === 'counts' && isArray) this.counts.push(await scanIntegers(reader, this.#shared));
    else {
      if (role.kind === 'look-alike') this.seems.add(role.what);
      await reader.skipValue();
    }
  }

  async #walkContainer(key: string, isArray: boolean, fields: Fields, depth: number): Promise<void> {
    const reader = this.#reader;
    if (!isArray) {
      const inner = await this.#walk(key, depth + 1);
      if (key !== 'usage') return;
      fields.promptTokens = inner.promptTokens;
      fields.completionTokens = inner.completionTokens;
      return;
    }
    reader.at++;
    for (let index = 0; await reader.nextElement(index === 0); index++) {
      reader.path.push(index);
      const code = reader.peek() || (await reader.peekFurther());
      if (code === openObject) await this.#walk(key, depth + 1);
      else await reader.skipValue();
      reader.path.pop();
    }
    if (key === 'activations') this.longForm.endPart(fields.numTokenIds ?? 0, fields.numTopk ?? 1);
  }

  /** Takes the choice that an object is, if it is one. */
  #end(fields: Fields, owner: string): void {
    const { layer, token, expert, slot, data, shape } = fields;
    this.numExperts = fields.numExperts ?? this.numExperts;
    if (layer !== null && token !== null && expert !== null) {
      const problem = this.longForm.add({ layer, token, slot, expert });
      if (problem !== null) this.#reader.fail('DAMAGED', problem);
    }
    if (owner === '' && data !== null && shape !== null) {
      this.#addReply({
        path: pathText(this.#reader.path),
        owner,
        value: { kind: 'described', fields },
        around: fields,
      });
    }
  }

  /** Reads the ids of a record, and returns whether the window has all of them. */
  #readIds(): boolean {
    const integers = this.#integers;
    integers.begin();
    this.numIds = integers.read(this.#reader, this.ids, 0);
    if (integers.isFinished) this.#endIds();
    return integers.isFinished;
  }

  async #readMoreIds(): Promise<void> {
    const reader = this.#reader;
    const integers = this.#integers;
    while (!integers.isFinished) {
      if (this.numIds === this.ids.length) {
        if (this.numIds === maxRecordIds) {
          const problem = `has more than ${maxRecordIds} ids in one record`;
          reader.fail('TOO_LARGE', problem, 'write records of fewer tokens');
        }
        const ids = new Int32Array(Math.min(4 * this.numIds, maxRecordIds));
        ids.set(this.ids);
        this.ids = ids;
      } else if ((reader.peek() || (await reader.peekFurther())) === 0) integers.endAtFileEnd(reader);
      this.numIds = integers.read(reader, this.ids, this.numIds);
    }
    this.#endIds();
  }

  #endIds(): void {
    const { shape, isWide } = this.#integers;
    if (isWide) this.#reader.fail('NOT_ROUTING', 'has a number that is too large for the id of an expert');
    if (shape.length > 2) {
      this.#reader.fail('DAMAGED', `has ${shape.length} axes, where a record has [tokens, topk] or [topk]`);
    }
    this.idsShape = shape;
  }

  async #readReply(code: number, around: Fields, owner: string, depth: number): Promise<void> {
    const reader = this.#reader;
    const path = pathText(reader.path);
    if (code === quote) {
      this.#addReply({ path, owner, value: { kind: 'text', text: await this.#readTextPlace() }, around });
    } else if (code === openObject) {
      const fields = await this.#walk('routed_experts', depth + 1);
      if (fields.data === null || fields.shape === null || fields.dtype === null) {
        reader.fail('DAMAGED', "has no 'data', 'shape' and 'dtype'");
      }
      this.#addReply({ path, owner, value: { kind: 'described', fields }, around });
    } else if (code === openArray) {
      this.#addReply({ path, owner, value: { kind: 'arrays', position: reader.position }, around });
      await reader.skipValue();
    } else if (reader.skipIfNext('null')) this.#addReply({ path, owner, value: { kind: 'null' }, around });
    else reader.fail('NOT_ROUTING', `is ${reader.valueText()}, where base64 text or an object with 'data' is expected`);
  }

  #addReply(ids: ReplyIds): void {
    if (this.replies.length === maxReplies) {
      this.#reader.fail('TOO_LARGE', `is one of more than ${maxReplies} replies`, 'split the file');
    }
    this.replies.push(ids);
  }

  async #readTextPlace(): Promise<TextPlace> {
    const position = this.#reader.position + 1;
    await this.#reader.skipString();
    return { position, length: this.#reader.position - 1 - position };
  }

  async #readShape(): Promise<readonly number[]> {
    const reader = this.#reader;
    const integers = new NestedIntegers();
    const lengths = new Float64Array(8);
    let count = 0;
    while (!integers.isFinished) {
      count = integers.read(reader, lengths, count);
      if (count === lengths.length) reader.fail('DAMAGED', `has more than ${lengths.length - 1} axes`);
      if (!integers.isFinished && (reader.peek() || (await reader.peekFurther())) === 0) integers.endAtFileEnd(reader);
    }
    return [...lengths.subarray(0, count)];
  }

  async #countElements(): Promise<number> {
    const reader = this.#reader;
    let count = 0;
    reader.at++;
    while (await reader.nextElement(count === 0)) {
      await reader.skipValue();
      count++;
    }
    return count;
  }
}

/** Goes from one object to the next at the top of a file, which is one object, an array of them, or many in JSONL. */
export class TopObjects {
  /** How many values the file has so far. */
  numValues = 0;
  readonly #reader: JsonReader;
  /** The index in the array at the top, or -1 outside of one. */
  #index = -1;

  constructor(reader: JsonReader) {
    this.#reader = reader;
  }

  /** Goes to the next object, and returns whether there is one. Elements that are null are passed over. */
  async next(): Promise<boolean> {
    const reader = this.#reader;
    for (;;) {
      if (this.#index >= 0) {
        const isFirst = this.#index === 0 && reader.path.length === 0;
        if (!isFirst) this.#index++;
        if (!(await reader.nextElement(isFirst))) {
          this.#index = -1;
          reader.path.length = 0;
          continue;
        }
        reader.path[0] = this.#index;
      }
      const code = reader.peek() || (await reader.peekFurther());
      if (code === openObject) {
        if (this.#index < 0) this.numValues++;
        return true;
      }
      if (this.#index < 0) {
        if (code === 0) return false;
        this.numValues++;
        if (code !== openArray) reader.fail('NOT_ROUTING', `is JSON, but not a nested array: ${reader.valueText()}`);
        reader.at++;
        this.#index = 0;
      } else if (!reader.skipIfNext('null')) {
        reader.fail('DAMAGED', 'is not an object, where others are objects');
      }
    }
  }
}
