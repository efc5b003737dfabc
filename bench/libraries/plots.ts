/**
 * The plots of `docs/benchmarks.md`, by Vega-Lite.
 *
 * @module
 */
import { parse, View } from 'vega';
import { compile } from 'vega-lite';
import { titleOf } from '../configurations.ts';
import type { Entry, Results } from '../results.ts';
import { median } from '../statistics.ts';
import { names } from '../variants/names.ts';

/** Variants, with colours that can be told apart on white and on black, by people of any colour vision. */
const colours = {
  [names.plain]: '#d1783c',
  [names.simple]: '#8e6bbf',
  [names.call]: '#1f9e89',
  [names.workspace]: '#d64f8c',
  [names.kernel]: '#2f7fd6',
  [names.native]: '#8c8c8c',
};
const order = Object.keys(colours);

/** Text and lines; the style sheet in the file makes them lighter on dark backgrounds. */
const ink = '#57606a';
const inkOnDark = '#adbac7';

const config = {
  background: null,
  font: 'system-ui, -apple-system, "Segoe UI", sans-serif',
  view: { stroke: null },
  axis: {
    labelColor: ink,
    titleColor: ink,
    domainColor: ink,
    tickColor: ink,
    gridColor: ink,
    gridOpacity: 0.18,
    labelFontSize: 12,
    titleFontSize: 13,
    titleFontWeight: 600,
    labelLimit: 400,
  },
  legend: {
    labelColor: ink,
    labelFontSize: 12,
    labelLimit: 300,
    orient: 'top',
    title: null,
    symbolSize: 90,
    symbolOpacity: 1,
  },
  title: { color: ink, fontSize: 14, anchor: 'start', offset: 12 },
};

/** Where the logarithmic axes are labelled. */
const nanoseconds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const tokensPerSecond = [1e5, 1e6, 1e7, 1e8, 1e9];

const colour = {
  field: 'variant',
  type: 'nominal',
  sort: order,
  scale: { domain: order, range: Object.values(colours) },
};

/** The SVG files, by name. */
export async function plots(results: Results): Promise<Record<string, string>> {
  return {
    'benchmarks-layouts.svg': await render(layoutsPlot(results.layouts)),
    'benchmarks-tokens.svg': await render(tokensPlot(results.overTokens)),
    'benchmarks-sizes.svg': await render({
      hconcat: [
        sizesPlot(results.overRanks, 'numRanks', 'ranks (256 experts)'),
        sizesPlot(results.overExperts, 'numExperts', 'experts (8 ranks)'),
      ],
      spacing: 40,
    }),
  };
}

function rowsOf(entries: readonly Entry[]) {
  return entries.flatMap(({ configuration, seconds }) =>
    order
      .filter((variant) => variant in seconds)
      .map((variant) => ({
        ...configuration,
        title: titleOf(configuration),
        variant,
        nanoseconds: (median(seconds[variant]) / configuration.numTokens) * 1e9,
        low: (Math.min(...seconds[variant]) / configuration.numTokens) * 1e9,
        high: (Math.max(...seconds[variant]) / configuration.numTokens) * 1e9,
        tokensPerSecond: configuration.numTokens / median(seconds[variant]),
      })),
  );
}

function layoutsPlot(layouts: readonly Entry[]): object {
  const y = {
    field: 'title',
    type: 'ordinal',
    sort: null,
    title: null,
    axis: { grid: true, ticks: false, domain: false },
  };
  const x = {
    type: 'quantitative',
    scale: { type: 'log', nice: false },
    axis: { values: nanoseconds },
    title: 'nanoseconds per token (less is better)',
  };
  return {
    data: { values: rowsOf(layouts) },
    width: 520,
    height: { step: 34 },
    encoding: { y, color: colour },
    layer: [
      {
        mark: { type: 'rule', strokeWidth: 2, opacity: 0.5 },
        encoding: { x: { ...x, field: 'low' }, x2: { field: 'high' } },
      },
      { mark: { type: 'point', filled: true, size: 90, opacity: 1 }, encoding: { x: { ...x, field: 'nanoseconds' } } },
    ],
  };
}

const line = { type: 'line', strokeWidth: 2.5, point: { size: 45 } };

function tokensPlot(overTokens: readonly Entry[]): object {
  return {
    data: { values: rowsOf(overTokens) },
    width: 620,
    height: 320,
    mark: line,
    encoding: {
      x: {
        field: 'numTokens',
        type: 'quantitative',
        scale: { type: 'log' },
        axis: { format: '~s', grid: false, values: overTokens.map(({ configuration }) => configuration.numTokens) },
        title: 'tokens in one call',
      },
      y: {
        field: 'tokensPerSecond',
        type: 'quantitative',
        scale: { type: 'log' },
        axis: { format: '~s', values: tokensPerSecond },
        title: 'tokens per second (more is better)',
      },
      color: colour,
    },
  };
}

function sizesPlot(entries: readonly Entry[], field: 'numRanks' | 'numExperts', title: string): object {
  // Every power of four, from the first on
  const first = entries[0].configuration[field];
  const labelled = [0, 1, 2, 3, 4, 5, 6, 7].map((exponent) => first * 4 ** exponent);
  return {
    data: { values: rowsOf(entries) },
    width: 330,
    height: 300,
    mark: line,
    encoding: {
      x: {
        field,
        type: 'quantitative',
        scale: { type: 'log', base: 2 },
        axis: { grid: false, format: ',', values: labelled },
        title,
      },
      y: {
        field: 'nanoseconds',
        type: 'quantitative',
        scale: { type: 'log', nice: false },
        axis: { values: nanoseconds },
        title: 'nanoseconds per token (less is better)',
      },
      color: colour,
    },
  };
}

async function render(specification: object): Promise<string> {
  const { spec } = compile({ $schema: 'https://vega.github.io/schema/vega-lite/v6.json', config, ...specification });
  const svg = await new View(parse(spec), { renderer: 'none' }).toSVG();
  const style = `<style>@media (prefers-color-scheme: dark) { [fill="${ink}"] { fill: ${inkOnDark} } [stroke="${ink}"] { stroke: ${inkOnDark} } }</style>`;
  return `${svg.replace(/(<svg[^>]*>)/, `$1${style}`)}\n`;
}
