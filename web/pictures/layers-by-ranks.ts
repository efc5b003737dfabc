/**
 * The picture of the tokens that go to each rank in each layer.
 *
 * @module
 */
import { hasTokens } from '../../ts/capture/capture.ts';
import { layerName } from '../compute/view.ts';
import { heatMap } from './heat-map.ts';
import { grouped, ofKept, ratio } from './numbers.ts';
import type { Picture } from './picture.ts';

export const layersByRanks: Picture = {
  id: 'layers-by-ranks',
  title: 'Ranks of each layer',
  caption: ({ capture, settings }) =>
    hasTokens(capture)
      ? `How many tokens go to each of the ${settings.numRanks} ranks, over the mean of the layer. A token goes to a rank once, however many experts it selects there.${ofKept(capture)}`
      : `The selections of each of the ${settings.numRanks} ranks, over the mean of the layer. The replicas of an expert get equal shares.`,
  draw({ capture, counted, chosen }, width) {
    const tokens = counted.map((layer) =>
      hasTokens(capture) ? chosen.layers[layer].tokensPerRank : chosen.layers[layer].loads,
    );
    const unit = hasTokens(capture) ? 'tokens' : 'selections';
    const numRanks = chosen.chosen.plan.numRanks;
    const means = tokens.map((ofLayer) => ofLayer.reduce((sum, count) => sum + count, 0) / numRanks);
    return heatMap({
      width,
      numRows: counted.length,
      numColumns: numRanks,
      rowLabel: 'layer',
      rowName: (row) => layerName(capture, counted[row]),
      columnLabel: 'rank',
      valueAt: (row, rank) => tokens[row][rank] / means[row],
      textAt: (row, rank) =>
        `layer ${layerName(capture, counted[row])}, rank ${rank}\n${grouped(tokens[row][rank])} ${unit}${means[row] === 0 ? '' : `\n${ratio(tokens[row][rank] / means[row])} times the mean`}`,
    });
  },
  data: ({ capture, counted, chosen }) =>
    counted.map((layer) => ({
      layer: capture.layers?.[layer] ?? null,
      ...(hasTokens(capture)
        ? { numTokensPerRank: Array.from(chosen.layers[layer].tokensPerRank) }
        : { loads: Array.from(chosen.layers[layer].loads) }),
      numTokensPerRdmaRank: chosen.numNodes === 1 ? null : Array.from(chosen.layers[layer].tokensPerNode),
    })),
};
