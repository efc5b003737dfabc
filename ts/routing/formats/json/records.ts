/**
 * Traces with a record for each step and layer, or for each token and layer: the router traces of Megatron-LM, and the
 * routing logs of vLLM. Each record has the ids of some tokens of one layer.
 *
 * @module
 */
import type { IntegerArray } from '../../../values/id-types.ts';
import type { ByteSource } from '../../byte-source.ts';
import type { IdContents, IdPiece } from '../../contents.ts';
import { namingLines } from '../text/text-fault.ts';
import { JsonReader } from './json-reader.ts';
import { type Fields, ObjectWalker, TopObjects } from './objects.ts';

/** A layer of a trace. */
interface TraceLayer {
  /** The part of the model: `decoder`, or `mtp 0`, whose layers are numbered apart. */
  readonly block: string;
  readonly number: number;
  numTokens: number;
}

/** What the records of a file say, gathered while it is read for the first time. */
export class RecordTable {
  readonly #layers = new Map<string, Map<number, TraceLayer>>();
  readonly #ranks = new Set<number | null>();
  /** The stage of the records that are taken, such as `pre_dispatch`; undefined before the first record. */
  #stage: string | null | undefined;
  #numTopk = 0;
  #numLeftOut = 0;

  /** Whether there is no record. */
  get isEmpty(): boolean {
    return this.#stage === undefined;
  }

  /** Adds the record that was read last, if it is one. */
  add(fields: Fields, { idsShape }: ObjectWalker, reader: JsonReader): void {
    if (idsShape === null) return;
    if (fields.layer === null) reader.fail('DAMAGED', "has ids, and no 'layer'");
    const numTopk = idsShape[idsShape.length - 1];
    const numTokens = idsShape.length === 2 ? idsShape[0] : 1;
    if (fields.numTokens !== null && fields.numTokens !== numTokens) {
      reader.fail('DAMAGED', `has the ids of ${numTokens} tokens, and says that it has ${fields.numTokens}`);
    }
    if (this.#stage === undefined) {
      this.#stage = fields.stage;
      this.#numTopk = numTopk;
    }
    if (numTokens > 0 && numTopk !== this.#numTopk) {
      const problem = `has ${numTopk} ids for each token, where the first record has ${this.#numTopk}`;
      reader.fail('DAMAGED', problem, 'fill shorter rows with -1');
    }
    if (fields.stage !== this.#stage) {
      this.#numLeftOut++;
      return;
    }
    this.#ranks.add(fields.rank);
    const block = blockOf(fields);
    let numbers = this.#layers.get(block);
    if (numbers === undefined) {
      if (this.#layers.size === maxBlocks) reader.fail('UNSUPPORTED', `is of one of more than ${maxBlocks} blocks`);
      numbers = new Map();
      this.#layers.set(block, numbers);
    }
    const layer = numbers.get(fields.layer);
    if (layer !== undefined) layer.numTokens += numTokens;
    else if (numbers.size < maxLayers) numbers.set(fields.layer, { block, number: fields.layer, numTokens });
    else reader.fail('UNSUPPORTED', `is of one of more than ${maxLayers} layers`);
  }

  /** The layer of a record; undefined if its ids are not taken. */
  layerOf(fields: Fields): TraceLayer | undefined {
    if (fields.stage !== this.#stage || fields.layer === null) return undefined;
    return this.#layers.get(blockOf(fields))?.get(fields.layer);
  }

  /** What the file holds. The ids are read from it again. */
  contents(source: ByteSource, numExperts: number | null, format: 'json' | 'jsonl'): IdContents {
    const isOther = ({ block }: TraceLayer): number => (block === decoder ? 0 : 1);
    const layers = [...this.#layers.values()]
      .flatMap((numbers) => [...numbers.values()])
      .sort(
        (left, right) =>
          isOther(left) - isOther(right) || left.block.localeCompare(right.block) || left.number - right.number,
      );
    const numTokens = Math.max(...layers.map((layer) => layer.numTokens));
    const [rank] = this.#ranks;
    const isMegatron = this.#stage !== null;
    return {
      kind: 'ids',
      format,
      producer: isMegatron ? 'Megatron-LM router trace' : 'vLLM routing log',
      numbering: isMegatron ? 'logical' : null,
      rank: this.#ranks.size === 1 ? rank : null,
      numExperts,
      notes: this.#notes(layers),
      axes: isMegatron ? 'steps,layers,tokens,topk' : 'tokens,layers,topk',
      axesBecause: `each record has the ids of ${isMegatron ? 'one layer' : 'one token'} and says which layer`,
      grid: {
        idType: 'int32',
        layers: numbersOf(layers),
        numTokens,
        ...(layers.some((layer) => layer.numTokens !== numTokens) && {
          tokensOfLayer: layers.map((layer) => layer.numTokens),
        }),
        numTopk: this.#numTopk,
        pieces: (chosen, into) => this.#pieces(source, layers, numTokens, chosen, into),
      },
    };
  }

  #notes(layers: readonly TraceLayer[]): string[] {
    const numbers = numbersOf(layers);
    const notes = layers.flatMap(({ block, number }, index) =>
      block === decoder ? [] : [`Layer ${numbers[index]} is layer ${number} of the block ${block}.`],
    );
    if (this.#numLeftOut > 0)
      notes.push(`${this.#numLeftOut} records are left out, since they are not of the stage ${this.#stage}.`);
    if (this.#ranks.size > 1) notes.push(`The tokens of ${this.#ranks.size} ranks follow one another.`);
    return notes;
  }

  /** Reads the file again, and collects the rows of each layer until there are enough for a piece. */
  async *#pieces(
    source: ByteSource,
    layers: readonly TraceLayer[],
    numTokens: number,
    chosen: readonly number[],
    into: IntegerArray,
  ): AsyncGenerator<IdPiece, void, void> {
    const numTopk = this.#numTopk;
    const rowsOf = new Map(chosen.map((index) => [layers[index], new Rows(index, numTopk)]));
    const ids = into as Int32Array;
    const reader = new JsonReader(source);
    const walker = new ObjectWalker(reader, source);
    const objects = new TopObjects(reader);
    const next = async (): Promise<Fields | null> => ((await objects.next()) ? walker.readObject() : null);
    await reader.skipByteOrderMark();
    for (let fields = await namingLines(source, next); fields !== null; fields = await namingLines(source, next)) {
      const layer = walker.idsShape === null ? undefined : this.layerOf(fields);
      const rows = layer === undefined ? undefined : rowsOf.get(layer);
      if (rows === undefined) continue;
      for (let from = 0; from < walker.numIds; ) {
        from = rows.take(walker.ids, from, walker.numIds);
        if (rows.isFull) yield* rows.flush(ids);
      }
    }
    for (const rows of rowsOf.values()) yield* rows.flush(ids);
    for (const rows of rowsOf.values()) yield* rows.fill(numTokens, ids);
  }
}

/** The part of the model whose layers have the numbers that people know. */
const decoder = 'decoder';
const maxBlocks = 64;
const maxLayers = 4096;
/** How many ids of a layer are collected before they are given out. */
const stagedIds = 2 ** 13;

function blockOf({ block, mtpIndex }: Fields): string {
  return mtpIndex === null ? (block ?? decoder) : `${block ?? 'mtp'} ${mtpIndex}`;
}

/** Numbers for layers in order: those of the decoder keep theirs, and others follow them. */
function numbersOf(layers: readonly TraceLayer[]): number[] {
  let next = 0;
  return layers.map(({ block, number }) => {
    if (block === decoder) next = number;
    return next++;
  });
}

/** The rows of one layer that have been read and not yet been given out. */
class Rows {
  readonly #layer: number;
  readonly #numTopk: number;
  readonly #ids: Int32Array;
  #numIds = 0;
  #firstToken = 0;

  /** @param layer the index of the layer in the grid. */
  constructor(layer: number, numTopk: number) {
    this.#layer = layer;
    this.#numTopk = numTopk;
    this.#ids = new Int32Array(Math.max(Math.floor(stagedIds / numTopk), 1) * numTopk);
  }

  get isFull(): boolean {
    return this.#numIds === this.#ids.length;
  }

  /** Takes as many ids as there is room for, and returns the position after them. */
  take(ids: Int32Array, from: number, to: number): number {
    const end = Math.min(to, from + this.#ids.length - this.#numIds);
    this.#ids.set(ids.subarray(from, end), this.#numIds);
    this.#numIds += end - from;
    return end;
  }

  /** Gives out all rows, in pieces that fit `into`. */
  *flush(into: Int32Array): Generator<IdPiece, void, void> {
    const most = Math.floor(into.length / this.#numTopk) * this.#numTopk;
    for (let from = 0; from < this.#numIds; from += most) {
      const part = this.#ids.subarray(from, Math.min(from + most, this.#numIds));
      into.set(part);
      yield this.#piece(into, part.length);
    }
    this.#numIds = 0;
  }

  /** Gives out empty rows up to the number of tokens. */
  *fill(numTokens: number, into: Int32Array): Generator<IdPiece, void, void> {
    const most = Math.floor(into.length / this.#numTopk);
    while (this.#firstToken < numTokens) {
      const count = Math.min(most, numTokens - this.#firstToken) * this.#numTopk;
      into.fill(-1, 0, count);
      yield this.#piece(into, count);
    }
  }

  #piece(into: Int32Array, numIds: number): IdPiece {
    const firstToken = this.#firstToken;
    const numTokens = numIds / this.#numTopk;
    this.#firstToken += numTokens;
    return { layer: this.#layer, firstToken, numTokens, ids: into.subarray(0, numIds) };
  }
}
