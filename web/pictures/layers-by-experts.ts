/**
 * The picture of the load of each expert in each layer.
 *
 * @module
 */
import { hasTokens } from '../../ts/capture/capture.ts';
import { layerName, type View } from '../compute/view.ts';
import { heatMap } from './heat-map.ts';
import { grouped, percent, ratio } from './numbers.ts';
import type { Picture } from './picture.ts';

export const layersByExperts: Picture = {
  id: 'layers-by-experts',
  title: 'Experts of each layer',
  isWide: true,
  caption: ({ capture }) =>
    `How often each of the ${capture.numExperts} experts was selected, over the mean of its layer${hasTokens(capture) ? `, by all ${grouped(capture.numTokens)} tokens` : ''}.`,
  draw({ capture, counted }, width) {
    const { counts, numExperts } = capture;
    const means = counted.map((layer) => counts[layer].reduce((sum, count) => sum + count, 0) / numExperts);
    return heatMap({
      width,
      numRows: counted.length,
      numColumns: numExperts,
      rowLabel: 'layer',
      rowName: (row) => layerName(capture, counted[row]),
      columnLabel: 'expert',
      valueAt: (row, expert) => counts[counted[row]][expert] / means[row],
      textAt: (row, expert) => {
        const count = counts[counted[row]][expert];
        const shares =
          means[row] === 0
            ? ''
            : `\n${ratio(count / means[row])} times the mean, ${percent(count / (means[row] * numExperts))}`;
        return `layer ${layerName(capture, counted[row])}, expert ${expert}\n${grouped(count)} selections${shares}`;
      },
    });
  },
  data: ({ capture, counted }: View) =>
    counted.map((layer) => ({
      layer: capture.layers?.[layer] ?? null,
      numTokensPerExpert: Array.from(capture.counts[layer]),
    })),
};
