/**
 * The pictures of the tokens that go from each rank to each rank, and from each node to each node.
 *
 * @module
 */
import { hasTokens } from '../../ts/capture/capture.ts';
import { sendersOf } from '../../ts/capture/senders.ts';
import { type Traffic, trafficOf } from '../compute/traffic.ts';
import { inLayer, type View } from '../compute/view.ts';
import { heatMap } from './heat-map.ts';
import { bytes, grouped, ofKept, ratio } from './numbers.ts';
import type { Drawing, Picture } from './picture.ts';

function trafficIn({ capture, chosen, settings }: View): Traffic {
  return trafficOf(capture, chosen, settings, settings.layer);
}

function captionOf(view: View, place: string): string {
  const { capture, settings } = view;
  const source =
    sendersOf(capture.ranks, settings.numRanks) === null
      ? 'No file says which rank sends its tokens: each is taken to send an equal share of all.'
      : 'Each file has the tokens of one rank.';
  return `The tokens that go from each ${place} to each ${place}${inLayer(view)}, over the mean. ${source}${ofKept(capture)}`;
}

function draw({ settings }: View, counts: Float64Array, size: number, place: string, width: number): Drawing | string {
  const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  const { hiddenSize, bytesPerElement } = settings;
  return heatMap({
    width,
    numRows: size,
    numColumns: size,
    rowLabel: `from ${place}`,
    rowName: String,
    columnLabel: `to ${place}`,
    valueAt: (from, to) => counts[from * size + to] / mean,
    textAt: (from, to) => {
      const count = counts[from * size + to];
      const inBytes = hiddenSize === null ? '' : `, ${bytes(count * hiddenSize * bytesPerElement)}`;
      return `from ${place} ${from} to ${place} ${to}\n${Number.isInteger(count) ? grouped(count) : count.toFixed(2)} tokens${inBytes}\n${ratio(count / mean)} times the mean`;
    },
  });
}

function table(counts: Float64Array, size: number): number[][] {
  return Array.from({ length: size }, (_, from) => Array.from(counts.subarray(from * size, (from + 1) * size)));
}

/** The picture of the traffic between ranks, or between nodes. */
function trafficPicture(
  place: 'rank' | 'node',
  of: (traffic: Traffic) => { readonly counts: Float64Array; readonly size: number },
): Picture {
  return {
    id: `traffic-between-${place}s`,
    title: `Traffic between ${place}s`,
    caption: (view) => captionOf(view, place),
    draw(view, width) {
      const { counts, size } = of(trafficIn(view));
      return size === 1 || !hasTokens(view.capture) ? null : draw(view, counts, size, place, width);
    },
    data(view) {
      const traffic = trafficIn(view);
      const { counts, size } = of(traffic);
      const { capture, settings } = view;
      return {
        layer: capture.layers?.[settings.layer] ?? null,
        source: traffic.source,
        numTokens: table(counts, size),
      };
    },
  };
}

export const trafficBetweenRanks = trafficPicture('rank', ({ betweenRanks, numRanks }) => ({
  counts: betweenRanks,
  size: numRanks,
}));

export const trafficBetweenNodes = trafficPicture('node', ({ betweenNodes, numNodes }) => ({
  counts: betweenNodes,
  size: numNodes,
}));
