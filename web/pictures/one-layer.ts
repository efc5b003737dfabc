/**
 * The pictures of the layer that was chosen: its ranks, its nodes, and the fan-out of its tokens.
 *
 * @module
 */
import { hasTokens } from '../../ts/capture/capture.ts';
import { fanOutOf } from '../compute/fan-out.ts';
import { inLayer, type View } from '../compute/view.ts';
import { bars } from './bars.ts';
import { ofKept } from './numbers.ts';
import type { Picture } from './picture.ts';

function withBefore({ before }: View): string {
  return before === null ? '' : ' The short lines are the linear placement.';
}

/** What goes to each rank: tokens, or where there are only counts, selections. */
function ofRanks({ capture }: View, { layers }: View['chosen'], layer: number): Float64Array {
  return hasTokens(capture) ? layers[layer].tokensPerRank : layers[layer].loads;
}

export const ranksOfLayer: Picture = {
  id: 'ranks-of-layer',
  title: 'Ranks of the layer',
  caption: (view) =>
    `The ${hasTokens(view.capture) ? 'tokens' : 'selections'} that go to each rank${inLayer(view)}. The broken line is their mean.${withBefore(view)}${ofKept(view.capture)}`,
  draw: (view, width) =>
    bars({
      counts: ofRanks(view, view.chosen, view.settings.layer),
      before: view.before === null ? null : ofRanks(view, view.before, view.settings.layer),
      label: 'rank',
      unit: hasTokens(view.capture) ? 'tokens' : 'selections',
      hasMean: true,
      width,
    }),
  data: (view) => ({
    layer: view.capture.layers?.[view.settings.layer] ?? null,
    unit: hasTokens(view.capture) ? 'tokens' : 'selections',
    ofRanks: Array.from(ofRanks(view, view.chosen, view.settings.layer)),
    ofRanksBefore: view.before === null ? null : Array.from(ofRanks(view, view.before, view.settings.layer)),
  }),
};

export const nodesOfLayer: Picture = {
  id: 'nodes-of-layer',
  title: 'Nodes of the layer',
  caption: (view) =>
    `The tokens that go to each node of ${view.settings.numRanksPerNode} ranks${inLayer(view)}. The broken line is their mean.${withBefore(view)}${ofKept(view.capture)}`,
  draw: ({ capture, settings, chosen, before }, width) =>
    chosen.numNodes === 1 || !hasTokens(capture)
      ? null
      : bars({
          counts: chosen.layers[settings.layer].tokensPerNode,
          before: before?.layers[settings.layer].tokensPerNode ?? null,
          label: 'node',
          unit: 'tokens',
          hasMean: true,
          width,
        }),
  data: ({ capture, settings, chosen, before }) => ({
    layer: capture.layers?.[settings.layer] ?? null,
    numTokensPerRdmaRank: Array.from(chosen.layers[settings.layer].tokensPerNode),
    numTokensPerRdmaRankBefore: before === null ? null : Array.from(before.layers[settings.layer].tokensPerNode),
  }),
};

export const fanOut: Picture = {
  id: 'fan-out',
  title: 'Fan-out of the layer',
  caption: (view) => {
    const { byRanks, byNodes } = fanOutOfLayer(view);
    const nodes = byNodes.length > 2 ? `, and to ${meanOf(byNodes).toFixed(2)} nodes` : '';
    return `To how many ranks tokens go${inLayer(view)}: to ${meanOf(byRanks).toFixed(2)} on average${nodes}.${ofKept(view.capture)}`;
  },
  draw: (view, width) =>
    hasTokens(view.capture)
      ? bars({
          counts: fanOutOfLayer(view).byRanks,
          before: null,
          label: 'number of ranks',
          unit: 'tokens',
          hasMean: false,
          width,
        })
      : null,
  data: (view) => ({ layer: view.capture.layers?.[view.settings.layer] ?? null, ...fanOutOfLayer(view) }),
};

function fanOutOfLayer({ capture, chosen, settings }: View): ReturnType<typeof fanOutOf> {
  return fanOutOf(capture, chosen.chosen, settings, settings.layer);
}

/** The mean of numbers that were counted. */
function meanOf(counts: readonly number[]): number {
  const numTokens = counts.reduce((sum, count) => sum + count, 0);
  return numTokens === 0 ? 0 : counts.reduce((sum, count, number) => sum + count * number, 0) / numTokens;
}
