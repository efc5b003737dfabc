/**
 * Traces with a record for each step and layer, or for each token and layer: the router traces of Megatron-LM, and the
 * routing logs of vLLM. Each record has the ids of some tokens of one layer.
 *
 * @module
 */
import type { ByteSource } from '../../byte-source.ts';
import type { GridPiece, IdContents } from '../../contents.ts';
import { namingLines } from '../text/text-fault.ts';
import { JsonReader } from './json-reader.ts';
import { type Fields, ObjectWalker, TopObjects } from './objects.ts';

/** A layer of a trace. */
interface TraceLayer {
  /** The part of the model: `decoder`, or `mtp 0`, whose layers are numbered apart. */
  readonly block: string;
  readonly number: number;
  numTokens: number;
  /** The ids of all its tokens, as long as ids are kept. */
  readonly kept: IdList;
}

/** Ids that are appended. */
class IdList {
  #ids = new Int32Array();
  #length = 0;

  append(ids: Int32Array): void {
    const length = this.#length + ids.length;
    if (length > this.#ids.length) {
      const longer = new Int32Array(2 * length);
      longer.set(this.#ids.subarray(0, this.#length));
      this.#ids = longer;
    }
    this.#ids.set(ids, this.#length);
    this.#length = length;
  }

  get all(): Int32Array {
    return this.#ids.subarray(0, this.#length);
  }

  clear(): void {
    this.#ids = new Int32Array();
    this.#length = 0;
  }
}

/** What the records of a file say, gathered while it is read for the first time. */
export class RecordTable {
  readonly #layers = new Map<string, Map<number, TraceLayer>>();
  readonly #ranks = new Set<number | null>();
  readonly #maxKept: number;
  /** The stage of the records that are taken, such as `pre_dispatch`; null where records have no stage. */
  #stage: string | null = null;
  /** The ids of each token; 0 before the first record that has any. */
  #numTopk = 0;
  #numLeftOut = 0;
  /** How many ids are kept, so that the file need not be read again; null once there are too many. */
  #numKept: number | null = 0;

  /** @param maxKept the most ids that are kept in memory. The default are 32 MiB. */
  constructor(maxKept = 2 ** 23) {
    this.#maxKept = maxKept;
  }

  /** Whether no record has ids. */
  get isEmpty(): boolean {
    return this.#numTopk === 0;
  }

  /** Adds the record that was read last, if it is one. */
  add(fields: Fields, { idsShape, ids, numIds }: ObjectWalker, reader: JsonReader): void {
    if (idsShape === null) return;
    const number = fields.layer as number;
    if (!Number.isInteger(number)) reader.fail('DAMAGED', "has ids, and no integer 'layer'");
    if (number < 0 || number >= maxLayers) {
      reader.fail('DAMAGED', `has the layer ${number}, which is no number from 0 to ${maxLayers - 1}`);
    }
    const numTopk = idsShape[idsShape.length - 1];
    const numTokens = numIds === 0 ? 0 : numIds / numTopk;
    if (fields.numTokens !== null && fields.numTokens !== numTokens) {
      reader.fail('DAMAGED', `has the ids of ${numTokens} tokens, and says that it has ${fields.numTokens}`);
    }
    if (numTokens === 0) return;
    if (this.#numTopk === 0) {
      this.#stage = fields.stage;
      this.#numTopk = numTopk;
    }
    if (numTopk !== this.#numTopk) {
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
    let layer = numbers.get(number);
    if (layer === undefined) {
      if (numbers.size === maxLayers) reader.fail('UNSUPPORTED', `is of one of more than ${maxLayers} layers`);
      layer = { block, number, numTokens: 0, kept: new IdList() };
      numbers.set(number, layer);
    }
    layer.numTokens += numTokens;
    this.#keep(layer, ids.subarray(0, numIds));
  }

  #keep(layer: TraceLayer, ids: Int32Array): void {
    if (this.#numKept === null) return;
    this.#numKept += ids.length;
    layer.kept.append(ids);
    if (this.#numKept <= this.#maxKept) return;
    this.#numKept = null;
    for (const { kept } of this.#all()) kept.clear();
  }

  #all(): TraceLayer[] {
    return [...this.#layers.values()].flatMap((numbers) => [...numbers.values()]);
  }

  /** The layer of a record; undefined if its ids are not taken. */
  layerOf(fields: Fields): TraceLayer | undefined {
    if (fields.stage !== this.#stage || fields.layer === null) return undefined;
    return this.#layers.get(blockOf(fields))?.get(fields.layer);
  }

  /** What the file holds. The ids are read from it again. */
  contents(source: ByteSource, numExperts: number | null, format: 'json' | 'jsonl'): IdContents {
    const isOther = ({ block }: TraceLayer): number => (block === decoder ? 0 : 1);
    const layers = this.#all().sort(
      (left, right) =>
        isOther(left) - isOther(right) ||
        left.block.localeCompare(right.block, 'en', { numeric: true }) ||
        left.number - right.number,
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
        pieces: (chosen, into) =>
          this.#numKept === null
            ? this.#piecesOfFile(source, layers, numTokens, chosen, into as Int32Array)
            : this.#keptPieces(layers, numTokens, chosen, into as Int32Array),
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

  async *#keptPieces(
    layers: readonly TraceLayer[],
    numTokens: number,
    chosen: readonly number[],
    into: Int32Array,
  ): AsyncGenerator<GridPiece, void, void> {
    for (const index of chosen) {
      const rows = new RowsInPieces(index, numTokens, this.#numTopk, into);
      yield* rows.give(layers[index].kept.all);
      yield* rows.fill();
    }
  }

  /** Reads the file again, and collects the rows of each layer until there are enough for a piece. */
  async *#piecesOfFile(
    source: ByteSource,
    layers: readonly TraceLayer[],
    numTokens: number,
    chosen: readonly number[],
    into: Int32Array,
  ): AsyncGenerator<GridPiece, void, void> {
    const numStaged = Math.max(Math.floor(stagedIds / this.#numTopk), 1) * this.#numTopk;
    const staged = new Map(
      chosen.map((index) => {
        const rows = new RowsInPieces(index, numTokens, this.#numTopk, into);
        return [layers[index], { rows, ids: new Int32Array(numStaged), length: 0 }];
      }),
    );
    const reader = new JsonReader(source);
    const walker = new ObjectWalker(reader, source);
    const objects = new TopObjects(reader);
    const next = async (): Promise<Fields | null> => ((await objects.next()) ? walker.readObject() : null);
    await reader.skipByteOrderMark();
    for (let fields = await namingLines(source, next); fields !== null; fields = await namingLines(source, next)) {
      const layer = walker.idsShape === null ? undefined : this.layerOf(fields);
      const stage = layer === undefined ? undefined : staged.get(layer);
      if (stage === undefined) continue;
      for (let from = 0; from < walker.numIds; ) {
        const part = walker.ids.subarray(from, Math.min(from + numStaged - stage.length, walker.numIds));
        stage.ids.set(part, stage.length);
        stage.length += part.length;
        from += part.length;
        if (stage.length < numStaged) continue;
        yield* stage.rows.give(stage.ids);
        stage.length = 0;
      }
    }
    for (const { rows, ids, length } of staged.values()) {
      yield* rows.give(ids.subarray(0, length));
      yield* rows.fill();
    }
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

/** Gives out the rows of one layer in pieces. */
class RowsInPieces {
  readonly #layer: number;
  readonly #numTokens: number;
  readonly #numTopk: number;
  readonly #into: Int32Array;
  /** How many ids fit a piece: whole rows. */
  readonly #most: number;
  #firstToken = 0;

  /** @param layer the index of the layer in the grid. */
  constructor(layer: number, numTokens: number, numTopk: number, into: Int32Array) {
    this.#layer = layer;
    this.#numTokens = numTokens;
    this.#numTopk = numTopk;
    this.#into = into;
    this.#most = Math.floor(into.length / numTopk) * numTopk;
  }

  /** The rows that come next. A file that has changed since it was opened can have more of them; these are left out. */
  *give(rows: Int32Array): Generator<GridPiece, void, void> {
    const ids = rows.subarray(0, (this.#numTokens - this.#firstToken) * this.#numTopk);
    for (let from = 0; from < ids.length; from += this.#most) {
      const part = ids.subarray(from, from + this.#most);
      this.#into.set(part);
      yield this.#piece(part.length);
    }
  }

  /** Empty rows up to the number of tokens. */
  *fill(): Generator<GridPiece, void, void> {
    while (this.#firstToken < this.#numTokens) {
      const numIds = Math.min(this.#most, (this.#numTokens - this.#firstToken) * this.#numTopk);
      this.#into.fill(-1, 0, numIds);
      yield this.#piece(numIds);
    }
  }

  #piece(numIds: number): GridPiece {
    const firstToken = this.#firstToken;
    const numTokens = numIds / this.#numTopk;
    this.#firstToken += numTokens;
    return { layer: this.#layer, firstToken, numTokens, ids: this.#into.subarray(0, numIds) };
  }
}
