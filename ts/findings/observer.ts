/**
 * Looks at the ids of a pass, piece by piece, and keeps what findings are made of.
 *
 * @module
 */
import { type IdType, type IntegerArray, idTypes } from '../values/id-types.ts';

/** What was seen of one layer. */
export interface LayerObservation {
  numTokens: number;
  /** The tokens in which experts were looked for that they select twice: all, unless there are very many. */
  numLookedAt: number;
  /** Tokens that select an expert twice, without those in which all slots hold the same. */
  numTwice: number;
  /** Tokens of several slots that all hold the same expert. */
  numOfOne: number;
  /** Tokens whose slots are all empty. */
  numEmpty: number;
  /** Tokens in which the largest number of an unsigned type stands twice: -1 in that type. */
  numWrapped: number;
  /** How many rows at the start are like the first one. */
  numLikeFirst: number;
  /** The selections of each expert, which who observes adds up. */
  readonly counts: Float64Array;
  /** How often each id was seen that is neither empty nor an expert. Of many different ones, only the first are here. */
  readonly invalid: Map<bigint, number>;
  /** The number of all these ids. */
  numInvalid: number;
}

/**
 * Looking for experts that a token selects twice takes longer than reading and computing. Beyond this number of tokens, only
 * some of the pieces are looked at, until there is one such token.
 */
const thoroughTokens = 2 ** 20;
const piecesPerLook = 64;
/** How many different invalid ids are told apart in a layer. */
const maxInvalid = 64;
/** How many tokens, at the start of each layer, are kept to compare the loads of layers with those of tokens. */
export const sampledTokens = 64;

/** What an observer knows of the ids. */
export interface IdFacts {
  readonly idType: IdType;
  readonly numTopk: number;
  readonly numExperts: number;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId: number | bigint | undefined;
}

/** Looks at the pieces of a pass. */
export class Observer {
  readonly layers: readonly LayerObservation[];
  /** The first tokens of each layer: `[layers][tokens * topk]`. */
  readonly samples: readonly number[][];
  readonly #facts: IdFacts;
  /** Elements of 64 bits are looked at as pairs of 32. */
  readonly #step: number;
  /** The number of the token, counted over everything, that selected each expert last. */
  readonly #lastToken: Int32Array;
  #token = 0;
  #numPieces = 0;
  #numTokens = 0;
  #hasTwice = false;
  /** The first row of each layer, while all rows since are like it. */
  readonly #firstRows: (readonly number[] | null)[];
  readonly #wrapped: number;
  /** The id that stands for an empty slot, beside -1, as {@link Words} hold it. */
  readonly #empty: { readonly low: number; readonly high: number };

  /** @param counts for each layer, the array in which the selections of each expert are added up. */
  constructor(facts: IdFacts, counts: readonly Float64Array[]) {
    this.#facts = facts;
    const { bytes, isSigned } = idTypes[facts.idType];
    this.#step = bytes === 8 ? 2 : 1;
    this.#wrapped = isSigned || bytes > 4 ? Number.NaN : 2 ** (8 * bytes) - 1;
    const empty = BigInt(facts.emptyId ?? -1);
    this.#empty =
      bytes === 8
        ? { low: Number(BigInt.asIntN(32, empty)), high: Number(BigInt.asIntN(32, empty >> 32n)) }
        : { low: Number(empty), high: empty < 0n ? -1 : 0 };
    this.#lastToken = new Int32Array(facts.numExperts).fill(-1);
    this.#firstRows = new Array(counts.length).fill(null);
    this.samples = counts.map(() => []);
    this.layers = counts.map((ofLayer) => ({
      numTokens: 0,
      numLookedAt: 0,
      numTwice: 0,
      numOfOne: 0,
      numEmpty: 0,
      numWrapped: 0,
      numLikeFirst: 0,
      counts: ofLayer,
      invalid: new Map(),
      numInvalid: 0,
    }));
  }

  /**
   * Looks at a piece.
   *
   * @param layer the index of the layer among those of the pass.
   * @param ids `[numTokens, numTopk]`, row-major.
   * @param counts the selections of each expert in the piece, from which it is known whether all ids are experts.
   */
  observe(layer: number, ids: IntegerArray, numTokens: number, counts: ArrayLike<number>): void {
    const seen = this.layers[layer];
    const { numTopk } = this.#facts;
    const numSelections = sumOf(counts);
    if (numTopk > 0) this.#observeStart(layer, ids, numTokens);
    // The numbers of tokens that were noted for experts must be below 2^31.
    if (this.#token + numTokens >= 2 ** 31) {
      this.#lastToken.fill(-1);
      this.#token = 0;
    }
    const areExperts = numSelections === numTokens * numTopk;
    if (!areExperts || this.#isLookedAt()) {
      if (areExperts) this.#observeExperts(seen, wordsOf(ids), numTokens);
      else this.#observeAny(seen, ids, numTokens);
      seen.numLookedAt += numTokens;
    }
    seen.numTokens += numTokens;
    this.#numTokens += numTokens;
    this.#numPieces++;
  }

  #isLookedAt(): boolean {
    return this.#hasTwice || this.#numTokens < thoroughTokens || this.#numPieces % piecesPerLook === 0;
  }

  /** Keeps a sample, and counts the rows that are like the first one. */
  #observeStart(layer: number, ids: IntegerArray, numTokens: number): void {
    const seen = this.layers[layer];
    const { numTopk } = this.#facts;
    const sample = this.samples[layer];
    for (let at = 0; at < numTokens * numTopk && sample.length < sampledTokens * numTopk; at++)
      sample.push(Number(ids[at]));
    if (seen.numLikeFirst !== seen.numTokens) return;
    this.#firstRows[layer] ??= Array.from({ length: numTopk }, (_, slot) => Number(ids[slot]));
    const first = this.#firstRows[layer] as readonly number[];
    for (let token = 0; token < numTokens; token++) {
      for (let slot = 0; slot < numTopk; slot++) if (Number(ids[token * numTopk + slot]) !== first[slot]) return;
      seen.numLikeFirst++;
    }
  }

  /** Looks for experts that a token selects twice, where all ids are experts. */
  #observeExperts(seen: LayerObservation, words: Words, numTokens: number): void {
    const { numTopk } = this.#facts;
    let row = nextTwice(words, this.#step, numTopk, 0, numTokens, this.#lastToken, this.#token);
    for (
      ;
      row < numTokens;
      row = nextTwice(words, this.#step, numTopk, row + 1, numTokens, this.#lastToken, this.#token)
    ) {
      this.#noteTwice(seen, words, row);
    }
    this.#token += numTokens;
  }

  #noteTwice(seen: LayerObservation, words: Words, row: number): void {
    const { numTopk } = this.#facts;
    this.#hasTwice = true;
    const idAt = (slot: number): number => words[(row * numTopk + slot) * this.#step];
    let numLikeFirst = 0;
    let numWrapped = 0;
    for (let slot = 0; slot < numTopk; slot++) {
      if (idAt(slot) === idAt(0)) numLikeFirst++;
      if (idAt(slot) === this.#wrapped) numWrapped++;
    }
    if (numWrapped > 1) seen.numWrapped++;
    else if (numLikeFirst === numTopk) seen.numOfOne++;
    else seen.numTwice++;
  }

  /** The same where some ids are not experts. */
  #observeAny(seen: LayerObservation, ids: IntegerArray, numTokens: number): void {
    const { numTopk, numExperts } = this.#facts;
    const words = wordsOf(ids);
    const step = this.#step;
    const { low: emptyLow, high: emptyHigh } = this.#empty;
    for (let row = 0; row < numTokens; row++) {
      let isTwice = false;
      let numEmpty = 0;
      for (let slot = 0; slot < numTopk; slot++) {
        const index = row * numTopk + slot;
        const low = words[index * step];
        const high = step === 2 ? words[index * step + 1] : low < 0 ? -1 : 0;
        if ((low === -1 && high === -1) || (low === emptyLow && high === emptyHigh)) {
          numEmpty++;
        } else if (high === 0 && low >= 0 && low < numExperts) {
          if (this.#lastToken[low] === this.#token) isTwice = true;
          this.#lastToken[low] = this.#token;
        } else {
          seen.numInvalid++;
          const id = BigInt(ids[index]);
          const times = seen.invalid.get(id);
          if (times !== undefined || seen.invalid.size < maxInvalid) seen.invalid.set(id, (times ?? 0) + 1);
        }
      }
      this.#token++;
      if (numTopk > 0 && numEmpty === numTopk) seen.numEmpty++;
      if (isTwice) this.#noteTwice(seen, words, row);
    }
  }
}

/** The sum of counts. It is a function of its own for the same reason as {@link nextTwice}. */
function sumOf(counts: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < counts.length; index++) sum += counts[index];
  return sum;
}

/**
 * The next row, from `row` on, in which an expert stands twice; `numRows` if there is none. It is a function of its own so
 * that engines compile it well.
 *
 * @param firstToken the number of the token of row 0.
 */
function nextTwice(
  words: Words,
  step: number,
  numTopk: number,
  row: number,
  numRows: number,
  lastToken: Int32Array,
  firstToken: number,
): number {
  let at = row * numTopk * step;
  for (let each = row; each < numRows; each++) {
    const token = (firstToken + each) | 0;
    let numDifferent = 0;
    for (let slot = 0; slot < numTopk; slot++) {
      const expert = words[at];
      if (lastToken[expert] !== token) numDifferent++;
      lastToken[expert] = token;
      at += step;
    }
    if (numDifferent !== numTopk) return each;
  }
  return numRows;
}

/** Ids, or the halves of ids of 64 bits. */
export type Words = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array;

/** Ids as 32-bit words or shorter. */
export function wordsOf(ids: IntegerArray): Words {
  if (!(ids instanceof BigInt64Array || ids instanceof BigUint64Array)) return ids;
  return new Int32Array(ids.buffer, ids.byteOffset, 2 * ids.length);
}
