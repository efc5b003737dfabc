/**
 * To how many ranks and nodes tokens go.
 *
 * @module
 */
import type { Capture } from '../../ts/capture/capture.ts';
import type { Settings } from '../../ts/capture/settings.ts';
import { type ChosenPlan, tokensOf } from './choose-plan.ts';
import { LayerLayouts } from './layer-layouts.ts';

/** How many tokens of a layer go to each number of ranks and of nodes. */
export interface FanOut {
  /** `[n]`: the tokens that go to n ranks. */
  readonly byRanks: readonly number[];
  /** `[n]`: the tokens that go to n nodes. */
  readonly byNodes: readonly number[];
}

/** Counts the tokens of a layer by the number of ranks and nodes that they go to. */
export function fanOutOf(capture: Capture, chosen: ChosenPlan, settings: Settings, layer: number): FanOut {
  const layouts = new LayerLayouts(capture, chosen, settings, 'bits');
  const { numRanks, numRanksPerNode } = layouts;
  const most = Math.min(capture.numTopk, numRanks);
  const byRanks = new Array<number>(most + 1).fill(0);
  const byNodes = new Array<number>(Math.min(most, layouts.numNodes) + 1).fill(0);
  const rowBytes = Math.ceil(numRanks / 8);
  layouts.run(layer, 0, tokensOf(capture, layer), Number.POSITIVE_INFINITY, ({ isTokenInRank }, _first, numTokens) => {
    for (let token = 0; token < numTokens; token++) {
      let ranks = 0;
      let nodes = 0;
      let lastNode = -1;
      for (let byte = 0; byte < rowBytes; byte++) {
        for (let bits = isTokenInRank[token * rowBytes + byte]; bits !== 0; bits &= bits - 1) {
          const node = Math.floor((8 * byte + 31 - Math.clz32(bits & -bits)) / numRanksPerNode);
          ranks++;
          if (node !== lastNode) nodes++;
          lastNode = node;
        }
      }
      byRanks[ranks]++;
      byNodes[nodes]++;
    }
  });
  return { byRanks, byNodes };
}
