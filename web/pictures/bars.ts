/**
 * Bars of counts, with a line at their mean.
 *
 * @module
 */
import * as Plot from '@observablehq/plot';
import { ticksOf } from './heat-map.ts';
import { grouped, ratio } from './numbers.ts';
import type { Drawing } from './picture.ts';

/** Counts of ranks, nodes or whatever else is numbered. */
export interface BarChart {
  readonly counts: ArrayLike<number>;
  /** The counts of the placement before, which are shown as short lines; null for none. */
  readonly before: ArrayLike<number> | null;
  /** What is numbered, such as `rank`. */
  readonly label: string;
  /** What is counted, such as `tokens`. */
  readonly unit: string;
  readonly hasMean: boolean;
  readonly width: number;
}

/** Draws bars. */
export function bars({ counts, before, label, unit, hasMean, width }: BarChart): Drawing {
  const all = Array.from(counts, (count, index) => ({ index, count, before: before?.[index] ?? null }));
  const most = all.reduce((largest, { count, before: then }) => Math.max(largest, count, then ?? 0), 1);
  const mean = all.reduce((sum, { count }) => sum + count, 0) / Math.max(1, all.length);
  return {
    points: all.map(({ index, count, before: countBefore }) => ({
      x: index + 0.5,
      y: count,
      text: [
        `${label} ${index}`,
        `${grouped(count)} ${unit}`,
        ...(hasMean && mean > 0 ? [`${ratio(count / mean)} times the mean`] : []),
        ...(countBefore === null ? [] : [`${grouped(countBefore)} with the linear placement`]),
      ].join('\n'),
    })),
    pointsAreColumns: true,
    plot: {
      width,
      height: 240,
      marginLeft: 64,
      marginBottom: 36,
      x: { label, domain: [0, all.length], ...ticksOf(all.length, (width - 64) / 40, String) },
      y: { label: unit, grid: true, domain: [0, most], tickFormat: '~s' },
      marks: [
        Plot.rectY(all, {
          x1: ({ index }) => index + 0.1,
          x2: ({ index }) => index + 0.9,
          y: 'count',
          fill: 'var(--after)',
        }),
        Plot.ruleY(before === null ? [] : all, {
          x1: ({ index }: { index: number }) => index,
          x2: ({ index }: { index: number }) => index + 1,
          y: 'before',
          stroke: 'currentColor',
          strokeWidth: 1.5,
        }),
        ...(hasMean ? [Plot.ruleY([mean], { stroke: 'var(--bound)', strokeDasharray: '5,3', strokeWidth: 1.5 })] : []),
        Plot.ruleY([0]),
      ],
    },
  };
}
