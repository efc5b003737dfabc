/**
 * The picture of what a placement changes in each layer.
 *
 * @module
 */
import * as Plot from '@observablehq/plot';
import { hasTokens } from '../../ts/capture/capture.ts';
import { layerName } from '../compute/view.ts';
import { ticksOf } from './heat-map.ts';
import { ratio } from './numbers.ts';
import type { Picture } from './picture.ts';

const words = { linear: 'linear', round_robin: 'round robin', eplb: 'EPLB', file: 'the plan' } as const;

export const beforeAndAfter: Picture = {
  id: 'before-and-after',
  title: 'Before and after',
  caption({ capture, settings, before }) {
    const half =
      settings.placement === 'eplb' && hasTokens(capture)
        ? ' The plan is made from the first half of the tokens and judged by the second half, since every plan suits its own tokens.'
        : '';
    return before === null
      ? 'The selections of the busiest rank over the mean, with the linear placement (circles), and what no placement can beat (lines). Choose another placement to compare.'
      : `The selections of the busiest rank over the mean: with the linear placement (circles), with ${words[settings.placement]} (diamonds), and what no placement in so many slots can beat (lines).${half}`;
  },
  draw({ capture, counted, chosen, before }, width) {
    const rows = counted.flatMap((layer, row) => {
      const after = chosen.layers[layer].balance?.['max/mean'];
      const from = (before ?? chosen).layers[layer].balance?.['max/mean'];
      const { bound } = chosen.layers[layer];
      return after === undefined || from === undefined || bound === null
        ? []
        : [{ row: row + 0.5, layer, after, before: from, bound }];
    });
    if (rows.length === 0) return null;
    const most = rows.reduce((largest, { after, before: from }) => Math.max(largest, after, from), 1.1);
    const rowHeight = Math.max(7, Math.min(28, 460 / counted.length));
    return {
      points: rows.map(({ row, layer, after, before: from, bound }) => ({
        x: after,
        y: row,
        text: [
          `layer ${layerName(capture, layer)}`,
          `linear ${ratio(from)}`,
          ...(before === null ? [] : [`now ${ratio(after)}`]),
          `bound ${ratio(bound)}`,
        ].join('\n'),
      })),
      plot: {
        width,
        height: Math.round(rowHeight * counted.length + 60),
        marginLeft: 56,
        marginBottom: 36,
        x: { label: 'max/mean of selections per rank', grid: true, domain: [1, most] },
        y: {
          label: 'layer',
          labelAnchor: 'center',
          labelArrow: 'none',
          domain: [counted.length, 0],
          ...ticksOf(counted.length, (rowHeight * counted.length) / 14, (row) => layerName(capture, counted[row])),
        },
        marks: [
          Plot.ruleX([1], { stroke: 'currentColor', strokeOpacity: 0.4 }),
          Plot.link(rows, { x1: 'before', x2: 'after', y1: 'row', y2: 'row', stroke: 'var(--before)' }),
          Plot.dot(rows, { x: 'before', y: 'row', r: 4, stroke: 'var(--before)', strokeWidth: 1.5 }),
          ...(before === null
            ? []
            : [Plot.dot(rows, { x: 'after', y: 'row', r: 4, symbol: 'diamond', fill: 'var(--after)' })]),
          Plot.link(rows, {
            x1: 'bound',
            x2: 'bound',
            y1: ({ row }) => row - 0.4,
            y2: ({ row }) => row + 0.4,
            stroke: 'var(--bound)',
            strokeWidth: 2,
          }),
        ],
      },
    };
  },
  data: ({ capture, counted, chosen, before }) => ({
    overLayersBefore: before?.overLayers ?? chosen.overLayers,
    overLayers: chosen.overLayers,
    overWindowsBefore: before?.overWindows ?? chosen.overWindows,
    overWindows: chosen.overWindows,
    layers: counted.map((layer) => ({
      layer: capture.layers?.[layer] ?? null,
      before: (before ?? chosen).layers[layer].balance,
      after: chosen.layers[layer].balance,
      bound: chosen.layers[layer].bound,
    })),
  }),
};
