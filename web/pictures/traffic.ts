/**
 * The pictures of the tokens that go from each rank to each rank, and from each node to each node.
 *
 * @module
 */
import { hasTokens } from '../../ts/capture/capture.ts';
import { sendersOf } from '../../ts/capture/senders.ts';
import { type Traffic, trafficOf } from '../compute/traffic.ts';
import { layerName, type View } from '../compute/view.ts';
import { heatMap } from './heat-map.ts';
import { bytes, grouped, ofKept, ratio } from './numbers.ts';
import type { Drawing, Picture } from './picture.ts';

function trafficIn({ capture, chosen, settings }: View): Traffic {
  return trafficOf(capture, chosen, settings, settings.layer);
}

function captionOf({ capture, settings }: View, places: string): string {
  const inLayer = capture.layers === null ? '' : ` in layer ${layerName(capture, settings.layer)}`;
  const source =
    sendersOf(capture.ranks, settings.numRanks) === null
      ? 'No file says which rank sends its tokens: each is taken to send an equal share of all.'
      : 'Each file has the tokens of one rank.';
  return `The tokens that go from each ${places} to each ${places}${inLayer}, over the mean. ${source}${ofKept(capture)}`;
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

export const trafficBetweenRanks: Picture = {
  id: 'traffic-between-ranks',
  title: 'Traffic between ranks',
  caption: (view) => captionOf(view, 'rank'),
  draw(view, width) {
    const { betweenRanks, numRanks } = trafficIn(view);
    return numRanks === 1 || !hasTokens(view.capture) ? null : draw(view, betweenRanks, numRanks, 'rank', width);
  },
  data(view) {
    const { betweenRanks, numRanks, source } = trafficIn(view);
    const { capture, settings } = view;
    return {
      layer: capture.layers?.[settings.layer] ?? null,
      source,
      numTokens: table(betweenRanks, numRanks),
    };
  },
};

export const trafficBetweenNodes: Picture = {
  id: 'traffic-between-nodes',
  title: 'Traffic between nodes',
  caption: (view) => captionOf(view, 'node'),
  draw(view, width) {
    const { betweenNodes, numNodes } = trafficIn(view);
    return numNodes === 1 || !hasTokens(view.capture) ? null : draw(view, betweenNodes, numNodes, 'node', width);
  },
  data(view) {
    const { betweenNodes, numNodes, source } = trafficIn(view);
    const { capture, settings } = view;
    return {
      layer: capture.layers?.[settings.layer] ?? null,
      source,
      numTokens: table(betweenNodes, numNodes),
    };
  },
};
