/**
 * Ids in long form, one choice of one token in each row of the file, put together into a grid.
 *
 * @module
 */
import { type ArrayPart, gridOfArrays } from '../array-grid.ts';
import { sourceOfBytes } from '../byte-source.ts';
import type { IdContents, IdGrid, StoredArray } from '../contents.ts';
import { refuse } from '../routing-error.ts';

/** One row: an expert that a token chose in a layer. */
export interface Choice {
  readonly layer: number;
  /** Counted from 0 in the part of the file that {@link LongForm.endPart} ends. */
  readonly token: number;
  /** Which of the token's choices it is, or null where the file does not say: then they keep the order of the file. */
  readonly slot: number | null;
  readonly expert: number;
}

/** The ids of one layer, with room for more tokens. */
interface LayerRows {
  /** `[capacity, numTopk]`; -1 where there is no choice. */
  ids: Int32Array;
  /** The number of tokens for which there is room. */
  capacity: number;
}

/** The most ids of all layers together, empty ones included: 64 MiB. */
const maxIds = 2 ** 24;
/** The largest number of a layer or a slot that is taken for one. */
const maxNumber = 4095;

/** A grid that grows with the rows of a file, whose order does not matter. It is in memory, so it has a limit. */
export class LongForm {
  readonly #layers = new Map<number, LayerRows>();
  #numTopk: number;
  /** The number of tokens in the parts that have ended. */
  #firstToken = 0;
  #numTokens = 0;
  #numRows = 0;

  /** @param numTopk how many choices each token has at least, if the file says so. */
  constructor(numTopk = 1) {
    this.#numTopk = Math.min(Math.max(numTopk, 1), maxNumber);
  }

  /** Whether no row was added. */
  get isEmpty(): boolean {
    return this.#numRows === 0;
  }

  /**
   * Adds a row.
   *
   * @returns what is wrong with it, as the rest of a sentence about it, or null.
   */
  add({ layer, token, slot, expert }: Choice): string | null {
    if (!isWithin(layer, 0, maxNumber)) return `has the layer ${layer}, which is no integer from 0 to ${maxNumber}`;
    if (!isWithin(token, 0, Number.MAX_SAFE_INTEGER)) return `has the token ${token}, which is no integer from 0`;
    if (slot !== null && !isWithin(slot, 0, maxNumber)) {
      return `has the slot ${slot}, which is no integer from 0 to ${maxNumber}`;
    }
    if (!isWithin(expert, -1, 2 ** 31 - 1)) return `has the expert ${expert}, which is no id`;
    const row = this.#firstToken + token;
    if (row >= maxIds) return tooLarge;
    let rows = this.#layers.get(layer);
    if (rows === undefined) {
      rows = { ids: new Int32Array(), capacity: 0 };
      this.#layers.set(layer, rows);
    }
    let column = slot;
    if (column === null) {
      column = row < rows.capacity ? rows.ids.subarray(row * this.#numTopk, (row + 1) * this.#numTopk).indexOf(-1) : 0;
      if (column < 0) column = this.#numTopk;
    }
    if (column >= this.#numTopk && !this.#widen(column + 1)) return tooLarge;
    if (row >= rows.capacity && !this.#lengthen(rows, row + 1)) return tooLarge;
    const place = row * this.#numTopk + column;
    if (rows.ids[place] !== -1) return `gives token ${token} of layer ${layer} a second expert in slot ${column}`;
    rows.ids[place] = expert;
    this.#numTokens = Math.max(this.#numTokens, row + 1);
    this.#numRows++;
    return null;
  }

  /**
   * Ends a part of the file whose tokens are counted from 0, such as one sequence.
   *
   * @param numTokens the number of its tokens, if the file says so and it is more than the rows show.
   * @param numTopk how many choices each token has, likewise.
   */
  endPart(numTokens = 0, numTopk = 1): void {
    if (numTopk > this.#numTopk) this.#widen(numTopk);
    this.#numTokens = Math.max(this.#numTokens, this.#firstToken + numTokens);
    this.#firstToken = this.#numTokens;
  }

  /** Gives every token more slots. The first rows of a file show how many there are, so that little is moved. */
  #widen(numTopk: number): boolean {
    const layers = [...this.#layers.values()];
    if (numTopk > maxNumber || layers.reduce((sum, { capacity }) => sum + capacity, 0) * numTopk > maxIds) return false;
    for (const rows of layers) {
      const ids = new Int32Array(rows.capacity * numTopk).fill(-1);
      for (let token = 0; token < rows.capacity; token++) {
        ids.set(rows.ids.subarray(token * this.#numTopk, (token + 1) * this.#numTopk), token * numTopk);
      }
      rows.ids = ids;
    }
    this.#numTopk = numTopk;
    return true;
  }

  /** Gives a layer more tokens, and room for as many again. */
  #lengthen(rows: LayerRows, numTokens: number): boolean {
    const needed = numTokens * this.#numTopk;
    if (needed > rows.ids.length) {
      const others = [...this.#layers.values()].reduce((sum, { ids }) => sum + ids.length, -rows.ids.length);
      const length = Math.min(2 * needed, maxIds - others);
      if (length < needed) return false;
      const ids = new Int32Array(length).fill(-1);
      ids.set(rows.ids);
      rows.ids = ids;
    }
    rows.capacity = Math.floor(rows.ids.length / this.#numTopk);
    return true;
  }

  /**
   * The grid of all rows.
   *
   * @param name what to call it in errors.
   * @returns the grid, and a note of the pairs of a layer and a token that have no row, if there are any.
   */
  finish(name: string): { grid: IdGrid; notes: readonly string[] } {
    const numTopk = this.#numTopk;
    const shape = [this.#numTokens, numTopk] as const;
    let numMissing = 0;
    const parts = [...this.#layers].map(([layer, rows]): ArrayPart => {
      if (rows.capacity < shape[0] && !this.#lengthen(rows, shape[0])) {
        refuse('TOO_LARGE', tooLarge, { file: name, remedy: 'save the ids as [tokens, layers, topk] in .npy' });
      }
      for (let token = 0; token < shape[0]; token++) {
        let slot = 0;
        while (slot < numTopk && rows.ids[token * numTopk + slot] === -1) slot++;
        if (slot === numTopk) numMissing++;
      }
      return { array: arrayInMemory(rows.ids, shape, name), axes: ['tokens', 'topk'], layers: [layer] };
    });
    const cells = `${numMissing} of ${shape[0] * parts.length} cells of a layer and a token`;
    return {
      grid: gridOfArrays(parts),
      notes: numMissing === 0 ? [] : [`The file has no ids in ${cells}; they are read as empty.`],
    };
  }
}

function isWithin(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

/** What a file in long form holds. */
export function contentsOfLongForm(
  longForm: LongForm,
  name: string,
): Pick<IdContents, 'kind' | 'grid' | 'notes' | 'axes' | 'axesBecause'> {
  const axesBecause = 'each row says its token and its layer';
  return { kind: 'ids', axes: 'tokens,layers,topk', axesBecause, ...longForm.finish(name) };
}

const tooLarge = `needs a grid of more than ${maxIds} ids, the limit for files with a row for each choice`;

/** An array over integers in memory, of which it has the first rows. */
function arrayInMemory(ids: Int32Array, shape: readonly [number, number], name: string): StoredArray {
  const bytes = new Uint8Array(ids.buffer as ArrayBuffer, ids.byteOffset, ids.byteLength);
  return {
    name: '',
    type: 'int32',
    littleEndian: true,
    shape,
    strides: [shape[1], 1],
    source: sourceOfBytes(bytes, name),
    position: 0,
  };
}
