/**
 * The picture of the balance of ranks over time: in one window of tokens after the other.
 *
 * @module
 */
import * as Plot from '@observablehq/plot';
import { tokenOf } from '../../ts/capture/capture.ts';
import { inLayer } from '../compute/view.ts';
import { grouped, ratio } from './numbers.ts';
import type { Picture } from './picture.ts';

export const windows: Picture = {
  id: 'windows',
  title: 'Balance over time',
  caption(view) {
    const { settings, chosen, before } = view;
    const spread = chosen.overWindows?.['max/mean'];
    const overAll =
      spread === undefined
        ? ''
        : ` Over the windows of all layers: median ${ratio(spread.p50)}, 95 % below ${ratio(spread.p95)}, worst ${ratio(spread.worst)}.`;
    const lines = before === null ? '' : ' The broken line is the linear placement.';
    return `The selections of the busiest rank over the mean${inLayer(view)}, in windows of ${grouped(settings.window)} tokens: what ranks wait for in one batch.${lines}${overAll}`;
  },
  draw({ capture, settings, chosen, before }, width) {
    const { windows: judged } = chosen.layers[settings.layer];
    const firstOf = (window: number): number =>
      tokenOf(capture, chosen.chosen.judgedFrom[settings.layer] + window * settings.window);
    const lineOf = (balances: typeof judged) =>
      balances.flatMap((balance, window) =>
        balance === null ? [] : [{ window, token: firstOf(window), value: balance['max/mean'] }],
      );
    const after = lineOf(judged);
    const earlier = before === null ? [] : lineOf(before.layers[settings.layer].windows);
    if (after.length === 0) return null;
    return {
      points: after.map(({ window, token, value }) => {
        const balanceBefore = before?.layers[settings.layer].windows[window]?.['max/mean'];
        return {
          x: token,
          y: value,
          text: [
            `window ${window}, from token ${grouped(token)}`,
            `max/mean ${ratio(value)}`,
            ...(balanceBefore === undefined ? [] : [`linear ${ratio(balanceBefore)}`]),
          ].join('\n'),
        };
      }),
      pointsAreColumns: true,
      plot: {
        width,
        height: 240,
        marginLeft: 50,
        marginBottom: 36,
        x: {
          label: 'first token of the window',
          domain: [firstOf(0), firstOf(judged.length)],
          tickFormat: '~s',
          ticks: Math.round(width / 90),
        },
        y: {
          label: 'max/mean',
          grid: true,
          nice: true,
          domain: [1, Math.max(1.1, ...[...after, ...earlier].map(({ value }) => value))],
        },
        marks: [
          Plot.line(earlier, { x: 'token', y: 'value', stroke: 'var(--before)', strokeDasharray: '4,3' }),
          Plot.line(after, { x: 'token', y: 'value', stroke: 'var(--after)' }),
          Plot.dot(after, { x: 'token', y: 'value', r: after.length > 200 ? 1 : 2.5, fill: 'var(--after)' }),
        ],
      },
    };
  },
  data: ({ capture, settings, chosen, before }) => ({
    layer: capture.layers?.[settings.layer] ?? null,
    window: settings.window,
    firstToken: tokenOf(capture, chosen.chosen.judgedFrom[settings.layer]),
    balances: chosen.layers[settings.layer].windows,
    balancesBefore: before?.layers[settings.layer].windows ?? null,
  }),
};
