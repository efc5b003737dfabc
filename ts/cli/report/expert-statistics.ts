/**
 * What `--statistics` reports of experts: how many different ones a batch selects, how much the most popular ones cover, and
 * which are selected together.
 *
 * @module
 */
import type { ExpertSelections } from '../compute/expert-statistics.ts';
import { type Counts, hottestFirst, sum } from './counts.ts';
import { counted, grouped } from './numbers.ts';
import type { Heading } from './sections.ts';

/** The most pairs of experts that are reported for each layer. */
const maxPairs = 16;

/** Where the numbers of different experts lie. */
interface UniqueExperts {
  readonly numWindows: number;
  readonly least: number;
  readonly p50: number;
  readonly p95: number;
  readonly most: number;
}

/** How large a share of the selections the most popular experts have. */
export interface Coverage {
  /** How many experts. */
  readonly top: number;
  readonly share: number;
}

/** Two experts that tokens select together. */
interface Pair {
  readonly experts: readonly [number, number];
  /** The number of tokens that select both. */
  readonly numTokens: number;
  /** How many times as many these are as if the two experts were selected independently of each other. */
  readonly lift: number;
}

/** The statistics of one layer. */
export interface LayerExpertStatistics {
  /** Null where nothing was selected. */
  readonly uniqueExperts: UniqueExperts | null;
  readonly coverage: readonly Coverage[] | null;
  /** The pairs that most tokens select, most first. */
  readonly pairs: readonly Pair[];
}

/** The statistics of all counted layers. */
export interface ExpertStatisticsResult {
  /** The number of tokens of a window. */
  readonly window: number;
  /** Over the windows of all layers. */
  readonly uniqueExperts: UniqueExperts | null;
  /** The mean over the layers, of each of which the most popular experts are others. */
  readonly coverage: readonly Coverage[] | null;
  readonly perLayer: readonly LayerExpertStatistics[];
}

/**
 * Makes the statistics of what was counted.
 *
 * @param loads the selections of each expert, of each layer.
 */
export function summariseExperts(
  selections: readonly ExpertSelections[],
  loads: readonly Counts[],
  window: number,
): ExpertStatisticsResult {
  const perLayer = selections.map(
    (layer, index): LayerExpertStatistics => ({
      uniqueExperts: spreadOfHistogram(layer.windowsByUniqueExperts),
      coverage: coverageOf(loads[index]),
      pairs: topPairs(layer),
    }),
  );
  const windows = new Float64Array(selections[0].windowsByUniqueExperts.length);
  for (const { windowsByUniqueExperts } of selections) {
    for (let unique = 0; unique < windows.length; unique++) windows[unique] += windowsByUniqueExperts[unique];
  }
  return {
    window,
    uniqueExperts: spreadOfHistogram(windows),
    coverage: meanCoverage(perLayer.map(({ coverage }) => coverage)),
    perLayer,
  };
}

/** The share of the selections that the top 1, 2, 4, 8, … experts have, up to all. Null where nothing was selected. */
export function coverageOf(loads: Counts): readonly Coverage[] | null {
  const all = sum(loads);
  if (all === 0) return null;
  const order = hottestFirst(loads);
  const coverage: Coverage[] = [];
  let numSelections = 0;
  let next = 1;
  for (const [index, expert] of order.entries()) {
    numSelections += loads[expert];
    const top = index + 1;
    if (top !== next && top !== order.length) continue;
    coverage.push({ top, share: numSelections / all });
    next *= 2;
  }
  return coverage;
}

function meanCoverage(ofLayers: readonly (readonly Coverage[] | null)[]): readonly Coverage[] | null {
  const known = ofLayers.filter((coverage) => coverage !== null);
  if (known.length === 0) return null;
  return known[0].map(({ top }, index) => ({
    top,
    share: known.reduce((all, coverage) => all + coverage[index].share, 0) / known.length,
  }));
}

/** Where values lie of which `histogram[value]` says how many there are. Percentiles are interpolated, as numpy does. */
function spreadOfHistogram(histogram: Float64Array): UniqueExperts | null {
  const numValues = sum(histogram);
  if (numValues === 0) return null;
  const valueAt = (place: number): number => {
    let numBelow = 0;
    return histogram.findIndex((count) => {
      numBelow += count;
      return numBelow > place;
    });
  };
  const percentile = (percent: number): number => {
    const place = ((numValues - 1) * percent) / 100;
    const below = valueAt(Math.floor(place));
    const above = valueAt(Math.min(Math.floor(place) + 1, numValues - 1));
    return below + (above - below) * (place - Math.floor(place));
  };
  return {
    numWindows: numValues,
    least: valueAt(0),
    p50: percentile(50),
    p95: percentile(95),
    most: valueAt(numValues - 1),
  };
}

/** The pairs that most tokens select. Of equal ones, those of lower experts come first. */
function topPairs({ numTokens, tokensOfExpert, tokensOfPair }: ExpertSelections): readonly Pair[] {
  const numExperts = tokensOfExpert.length;
  let pairs: { readonly first: number; readonly second: number; readonly count: number }[] = [];
  // Sorting all would take long, so that those below the last of the top ones are not kept
  let least = 0;
  const cut = (): void => {
    pairs.sort((left, right) => right.count - left.count || left.first - right.first || left.second - right.second);
    pairs = pairs.slice(0, maxPairs);
    if (pairs.length === maxPairs) least = pairs[maxPairs - 1].count;
  };
  for (let first = 0; first < numExperts; first++) {
    for (let second = first + 1; second < numExperts; second++) {
      const count = tokensOfPair[first * numExperts + second] + tokensOfPair[second * numExperts + first];
      if (count <= least) continue;
      pairs.push({ first, second, count });
      if (pairs.length >= 8 * maxPairs) cut();
    }
  }
  cut();
  return pairs.map(({ first, second, count }) => ({
    experts: [first, second],
    numTokens: count,
    lift: (count * numTokens) / (tokensOfExpert[first] * tokensOfExpert[second]),
  }));
}

/** The section of the report for people. */
export function expertStatisticsSection(
  { window, uniqueExperts, coverage, perLayer }: ExpertStatisticsResult,
  layers: readonly number[] | null,
  heading: Heading,
): string[] {
  const numLayers = perLayer.length;
  const title = heading('Experts together', numLayers > 1 ? `over ${numLayers} layers` : '');
  if (uniqueExperts === null || coverage === null) return ['', title, '  no expert was selected'];
  const { numWindows, least, p50, p95, most } = uniqueExperts;
  const windows = `${counted(numWindows, 'window')} of ${counted(window, 'token')}`;
  const shares = coverage.slice(0, 6).map(({ top, share }) => `${top}: ${(100 * share).toFixed(1)} %`);
  const best = perLayer
    .flatMap(({ pairs }, index) => (pairs.length === 0 ? [] : [{ layer: layers?.[index], pair: pairs[0] }]))
    .reduce<{ layer: number | undefined; pair: Pair } | null>(
      (most, each) => (most === null || each.pair.numTokens > most.pair.numTokens ? each : most),
      null,
    );
  return [
    '',
    title,
    `  different ones in ${windows}:`,
    `    p50 ${grouped(p50)}, p95 ${grouped(p95)}, from ${least} to ${most}`,
    '  share of the selections of the top experts:',
    `    ${shares.join(', ')}`,
    ...(best === null ? [] : pairLines(best.pair, best.layer)),
  ];
}

function pairLines({ experts: [first, second], numTokens, lift }: Pair, layer: number | undefined): string[] {
  const where = layer === undefined ? '' : ` in layer ${layer}`;
  return [
    `  most often together: ${first} and ${second}${where}`,
    `    ${counted(numTokens, 'token')}, lift ${lift.toFixed(2)}`,
  ];
}
