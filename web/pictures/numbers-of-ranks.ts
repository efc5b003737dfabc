/**
 * The pictures of what other numbers of ranks would do.
 *
 * @module
 */
import * as Plot from '@observablehq/plot';
import { hasTokens } from '../../ts/capture/capture.ts';
import { counted } from '../../ts/values/grouped.ts';
import type { SweptRanks } from '../compute/sweep.ts';
import type { View } from '../compute/view.ts';
import { bytes, ratio } from './numbers.ts';
import type { Picture } from './picture.ts';

function placementOf({ settings }: View): string {
  return settings.placement === 'round_robin' ? 'round robin' : 'linear';
}

/** The bytes that a token takes on its way to other nodes, or null where the hidden size is not known. */
function bytesPerToken({ settings: { hiddenSize, bytesPerElement } }: View): number | null {
  return hiddenSize === null ? null : hiddenSize * bytesPerElement;
}

const beingComputed = 'It is being computed.';

/** The axis of the numbers of ranks, with room for two, and for the one that was chosen. */
function axisOf({ sweep, settings }: View) {
  return {
    label: 'ranks',
    type: 'log' as const,
    base: 2,
    domain: [1, Math.max(2, settings.numRanks, ...sweep.map(({ numRanks }) => numRanks))],
    ticks: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048],
    tickFormat: String,
  };
}

export const balanceOverRanks: Picture = {
  id: 'balance-over-ranks',
  title: 'Balance over numbers of ranks',
  caption: (view) =>
    `The ${hasTokens(view.capture) ? 'tokens' : 'selections'} of the busiest rank over the mean, with the ${placementOf(view)} placement: the median of the layers (circles), what 95 % of them are below (triangles), and the worst (squares).`,
  draw(view, width) {
    const { sweep, settings } = view;
    const known = sweep.flatMap(({ numRanks, maxOverMean }) =>
      maxOverMean === null ? [] : [{ numRanks, ...maxOverMean }],
    );
    if (sweep.length === 0) return beingComputed;
    if (known.length === 0) return null;
    const dots = (y: 'p50' | 'p95' | 'worst', symbol: 'circle' | 'triangle' | 'square', colour: string) => [
      Plot.line(known, { x: 'numRanks', y, stroke: colour }),
      Plot.dot(known, { x: 'numRanks', y, symbol, fill: colour, r: 3.5 }),
    ];
    return {
      points: known.map(({ numRanks, p50, p95, worst }) => ({
        x: numRanks,
        y: p95,
        text: `${counted(numRanks, 'rank')}\nmedian ${ratio(p50)}\n95 % below ${ratio(p95)}\nworst ${ratio(worst)}`,
      })),
      pointsAreColumns: true,
      plot: {
        width,
        height: 260,
        marginLeft: 50,
        marginBottom: 36,
        x: axisOf(view),
        y: {
          label: 'max/mean',
          grid: true,
          nice: true,
          domain: [1, Math.max(1.1, ...known.map(({ worst }) => worst))],
        },
        marks: [
          Plot.ruleX([settings.numRanks], { stroke: 'currentColor', strokeOpacity: 0.4, strokeDasharray: '2,3' }),
          ...dots('p50', 'circle', 'var(--after)'),
          ...dots('p95', 'triangle', 'var(--bound)'),
          ...dots('worst', 'square', 'var(--before)'),
        ],
      },
    };
  },
  data: (view) => ({ placement: placementOf(view), sweep: view.sweep }),
};

export const fanOutOverRanks: Picture = {
  id: 'fan-out-over-ranks',
  title: 'Fan-out over numbers of ranks',
  caption: (view) =>
    `To how many ranks (circles) and nodes of ${view.settings.numRanksPerNode} ranks (squares) a token goes on average, with the ${placementOf(view)} placement.`,
  draw(view, width) {
    const { sweep, settings } = view;
    if (!hasTokens(view.capture)) return null;
    if (sweep.length === 0) return beingComputed;
    const perToken = bytesPerToken(view);
    const textOf = ({ numRanks, numNodes, meanRanksPerToken, meanNodesPerToken }: SweptRanks): string =>
      [
        `${counted(numRanks, 'rank')} in ${counted(numNodes, 'node')}`,
        `${meanRanksPerToken.toFixed(3)} ranks per token`,
        ...(meanNodesPerToken === null ? [] : [`${meanNodesPerToken.toFixed(3)} nodes per token`]),
        ...(perToken === null || meanNodesPerToken === null
          ? []
          : [`${bytes(perToken * meanNodesPerToken)} per token, to nodes`]),
      ].join('\n');
    return {
      points: sweep.map((each) => ({ x: each.numRanks, y: each.meanRanksPerToken, text: textOf(each) })),
      pointsAreColumns: true,
      plot: {
        width,
        height: 260,
        marginLeft: 50,
        marginBottom: 36,
        x: axisOf(view),
        y: { label: 'per token', grid: true, zero: true, nice: true },
        marks: [
          Plot.ruleX([settings.numRanks], { stroke: 'currentColor', strokeOpacity: 0.4, strokeDasharray: '2,3' }),
          Plot.line(sweep, { x: 'numRanks', y: 'meanRanksPerToken', stroke: 'var(--after)' }),
          Plot.dot(sweep, { x: 'numRanks', y: 'meanRanksPerToken', fill: 'var(--after)', r: 3.5 }),
          Plot.line(sweep, { x: 'numRanks', y: 'meanNodesPerToken', stroke: 'var(--bound)' }),
          Plot.dot(sweep, { x: 'numRanks', y: 'meanNodesPerToken', symbol: 'square', fill: 'var(--bound)', r: 3.5 }),
        ],
      },
    };
  },
  data: (view) => ({ placement: placementOf(view), sweep: view.sweep }),
};
