/**
 * Counts what the layout does not: how many different experts a batch selects, and which experts tokens select together.
 *
 * @module
 */

import { type Words, wordsOf } from '../../findings/observer.ts';
import { fail, withMemory } from '../fail.ts';
import { counted, type IntegerArray } from '../library.ts';

/** What was counted in one layer. */
export interface ExpertSelections {
  /**
   * `[numExperts + 1]`: in how many windows of tokens so many different experts were selected. Windows in which none was
   * are left out, and so are tokens at the end that do not fill a window, unless they are all there is.
   */
  readonly windowsByUniqueExperts: Float64Array;
  /** The number of tokens that selected any expert. */
  readonly numTokens: number;
  /** `[numExperts]`: the number of tokens that selected each expert. One that selected it twice counts once. */
  readonly tokensOfExpert: Float64Array;
  /**
   * `[numExperts, numExperts]`: how many tokens selected both experts, the column in an earlier slot than the row. The
   * counts of both orders together are those of the pair.
   */
  readonly tokensOfPair: Uint32Array;
}

/** What is counted of one layer while its pieces come. */
interface LayerState {
  readonly windowsByUniqueExperts: Float64Array;
  readonly tokensOfExpert: Float64Array;
  readonly tokensOfPair: Uint32Array;
  /** For each expert, the number of the last window in which it was selected, counted from 1. */
  readonly lastWindow: Uint32Array;
  numTokens: number;
  /** The number of the current window, counted from 1. */
  window: number;
  numTokensInWindow: number;
  numUnique: number;
}

/** The most counts of pairs, in all layers together: 96 MiB, so that the process stays below 200 MB. */
const maxPairs = 3 * 2 ** 23;

/** What is known of the ids. */
export interface SelectionFacts {
  readonly numLayers: number;
  readonly numTopk: number;
  readonly numExperts: number;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId: number | bigint | undefined;
  /** The number of tokens of a window. */
  readonly window: number;
}

/** Looks at the pieces of a pass. */
export class ExpertStatistics {
  readonly #facts: SelectionFacts;
  readonly #layers: readonly LayerState[];
  /** An expert that stands for an empty slot, or -1. */
  readonly #empty: number;
  /** The experts of one token, each once. */
  readonly #selected: Int32Array;

  constructor(facts: SelectionFacts) {
    const { numLayers, numTopk, numExperts, emptyId } = facts;
    if (numLayers * numExperts ** 2 > maxPairs) {
      const remedy = numLayers > 1 ? 'choose one with --layer, or leave it out' : 'leave it out';
      fail(
        `--statistics counts pairs of experts, too many of ${numExperts} experts in ${counted(numLayers, 'layer')}; ${remedy}`,
      );
    }
    this.#facts = facts;
    this.#empty = emptyId !== undefined && emptyId >= 0 && emptyId < numExperts ? Number(emptyId) : -1;
    this.#selected = new Int32Array(numTopk);
    this.#layers = withMemory('the counts of pairs of experts', 'choose one with --layer', () =>
      Array.from({ length: numLayers }, () => ({
        windowsByUniqueExperts: new Float64Array(numExperts + 1),
        tokensOfExpert: new Float64Array(numExperts),
        tokensOfPair: new Uint32Array(numExperts ** 2),
        lastWindow: new Uint32Array(numExperts),
        numTokens: 0,
        window: 1,
        numTokensInWindow: 0,
        numUnique: 0,
      })),
    );
  }

  /**
   * Looks at a piece. The pieces of a layer come in the order of its tokens.
   *
   * @param layer the index of the layer among those of the pass.
   * @param ids `[numTokens, numTopk]`, row-major.
   */
  observe(layer: number, ids: IntegerArray, numTokens: number): void {
    const { numTopk, window } = this.#facts;
    const state = this.#layers[layer];
    const words = wordsOf(ids);
    const step = words === ids ? 1 : 2;
    for (let row = 0; row < numTokens; ) {
      const numRows = Math.min(numTokens - row, window - state.numTokensInWindow);
      const begin = row * numTopk * step;
      this.#observeRows(state, words.subarray(begin, begin + numRows * numTopk * step), step);
      state.numTokensInWindow += numRows;
      row += numRows;
      if (state.numTokensInWindow === window) endWindow(state);
    }
  }

  /** Looks at tokens of one window. */
  #observeRows(state: LayerState, words: Words, step: number): void {
    const { numTopk, numExperts } = this.#facts;
    const empty = this.#empty;
    const selected = this.#selected;
    const { tokensOfExpert, tokensOfPair, lastWindow, window } = state;
    let { numUnique, numTokens } = state;
    for (let at = 0; at < words.length; ) {
      let numSelected = 0;
      for (const end = at + numTopk * step; at < end; at += step) {
        const expert = words[at];
        if (!(expert >= 0 && expert < numExperts) || expert === empty || (step === 2 && words[at + 1] !== 0)) continue;
        const row = expert * numExperts;
        let earlier = 0;
        while (earlier < numSelected && selected[earlier] !== expert) earlier++;
        if (earlier < numSelected) continue;
        for (let other = 0; other < numSelected; other++) tokensOfPair[row + selected[other]]++;
        selected[numSelected++] = expert;
        tokensOfExpert[expert]++;
        if (lastWindow[expert] !== window) {
          lastWindow[expert] = window;
          numUnique++;
        }
      }
      if (numSelected > 0) numTokens++;
    }
    state.numUnique = numUnique;
    state.numTokens = numTokens;
  }

  /** What was counted, of each layer. */
  finish(): readonly ExpertSelections[] {
    for (const state of this.#layers) if (state.window === 1 && state.numTokensInWindow > 0) endWindow(state);
    return this.#layers;
  }
}

function endWindow(state: LayerState): void {
  if (state.numUnique > 0) state.windowsByUniqueExperts[state.numUnique]++;
  state.window++;
  state.numTokensInWindow = 0;
  state.numUnique = 0;
}
