/**
 * The picture of the share of all selections that the most popular experts have.
 *
 * @module
 */
import * as Plot from '@observablehq/plot';
import { coverageOf } from '../compute/coverage.ts';
import { inLayer, type View } from '../compute/view.ts';
import { percent } from './numbers.ts';
import type { Picture } from './picture.ts';

function sharesOf({ capture, settings }: View): Float64Array | null {
  return coverageOf(capture.counts[settings.layer]);
}

export const coverage: Picture = {
  id: 'coverage',
  title: 'Coverage by the most popular experts',
  caption(view) {
    const { capture } = view;
    const shares = sharesOf(view);
    const half = shares?.findIndex((share) => share >= 0.5);
    const inWords =
      half === undefined
        ? ''
        : ` Half of all selections are of ${half} experts; if all were alike, of ${Math.ceil(capture.numExperts / 2)}.`;
    return `The share of selections that the n most popular experts have${inLayer(view)}. The broken line is what it would be if all were alike.${inWords}`;
  },
  draw(view, width) {
    const shares = sharesOf(view);
    if (shares === null) return null;
    const points = Array.from(shares, (share, n) => ({
      x: n,
      y: share,
      text: `the first ${n} experts\n${percent(share)} of selections`,
    }));
    const { numExperts } = view.capture;
    return {
      points,
      pointsAreColumns: true,
      plot: {
        width,
        height: 240,
        marginLeft: 50,
        marginBottom: 36,
        x: { label: 'n experts' },
        y: { label: 'share', grid: true, domain: [0, 1], tickFormat: '.0%' },
        marks: [
          Plot.line(
            [
              [0, 0],
              [numExperts, 1],
            ],
            { stroke: 'var(--before)', strokeDasharray: '4,3' },
          ),
          Plot.line(points, { x: 'x', y: 'y', stroke: 'var(--after)', strokeWidth: 2 }),
        ],
      },
    };
  },
  data: (view) => ({
    layer: view.capture.layers?.[view.settings.layer] ?? null,
    coverage: Array.from(sharesOf(view) ?? []),
  }),
};
