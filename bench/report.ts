/**
 * `docs/benchmarks.md`, and the tables on the terminal, from results.
 *
 * @module
 */
import { type Configuration, histogramConfiguration, titleOf } from './configurations.ts';
import type { Entry, Results } from './results.ts';
import { median, medianRatio, spread } from './statistics.ts';
import { names } from './variants/names.ts';

/** The whole document. */
export function report(results: Results): string {
  const { machine, variants, layouts, histograms, firstCalls, heldMemory, sizes } = results;
  const numProcesses = Object.values(layouts[0].seconds)[0].length;
  return `# Benchmarks

Made by \`./build.sh bench\` from [bench/results/benchmarks.json](../bench/results/benchmarks.json); do not edit. Measured on
${results.date.slice(0, 10)}, in ${numProcesses} processes one after the other (three for what is below the first table), each of which checks every variant
against the oracle of the conformance suite and then times them in turn. Figures are medians over the processes; ± is half the range of
the processes' own medians. T · K · E · R are tokens, top-k, experts and ranks; 8 ranks a node; routing is uniformly random
but where it says otherwise: \`skewed\` gives 44 % of the selections to an eighth of the experts, in \`half empty\` every other slot
is -1, at random.

${table(['', ''], Object.entries(machine))}

## Layouts

Nanoseconds per token:

${layoutsTable(layouts)}

${Object.entries(variants)
  .map(([name, description]) => `- **${name}**: ${description}.`)
  .join('\n')}

The plain function is slower once it has seen both kinds of arrays, since V8 then compiles one code for both. Both figures
are there because both happen: the first is what a library that takes either pays, the second what one model's own loop does.

![Nanoseconds per token of each variant](benchmarks-layouts.svg)

How many times faster (medians of the ratios within each process):

${ratiosTable(layouts)}

For \`native\` the ratio is the share of the native build's speed that the WASM kernel reaches: 0.83 is 1.2 times slower.

## Over the number of tokens

${titleOf({ ...histogramConfiguration, numTokens: 1 }).replace('1 ·', 'T ·')}, millions of tokens per second:

${scalingTable('tokens', results.overTokens, ({ numTokens }) => numTokens, millionsPerSecond)}

![Tokens per second over the number of tokens](benchmarks-tokens.svg)

## Over ranks and experts

4,096 tokens, top-8, nanoseconds per token; 256 experts over R, 8 ranks over E. Up to 64 ranks a row is a mask in a register;
beyond 4,088 experts the table does not fit 16-bit offsets.

${scalingTable('ranks', results.overRanks, ({ numRanks }) => numRanks, nanosecondsPerToken)}

${scalingTable('experts', results.overExperts, ({ numExperts }) => numExperts, nanosecondsPerToken)}

![Nanoseconds per token over ranks and over experts](benchmarks-sizes.svg)

## The histogram of experts alone

What other libraries have of it, against all of the layout; ${titleOf(histogramConfiguration)}, microseconds:

${histogramTable(results)}

\`tfjs\` is \`tf.bincount\` of ${machine.tfjs} on its cpu backend, over an int32 tensor; \`numpy\` is \`numpy.bincount\` over int64.${
    'numpy' in histograms ? '' : ' There was no numpy on this machine.'
  }

## The first call

In a fresh process of Node.js: loading the library, then a layout of two tokens (\`[[0, 5], [6, -1]]\`), which decodes,
compiles and instantiates the kernel. Medians of 20 processes. Resident memory is that of the whole process, Node.js
included; in brackets what loading added.

${table(
  ['', 'loading, ms', 'first layout, ms', 'together, ms', 'resident, MB'],
  Object.entries(firstCalls).map(([form, call]) => [
    `\`${form}\``,
    call.loadMilliseconds.toFixed(1),
    call.firstMilliseconds.toFixed(1),
    call.togetherMilliseconds.toFixed(1),
    `${(call.residentBytes / 1e6).toFixed(1)} (${(call.loadBytes / 1e6).toFixed(1)})`,
  ]),
)}

## Bytes

${table(
  ['shipped', 'raw', 'gzip'],
  Object.entries(sizes).map(([name, { raw, gzip }]) => [name, kilobytes(raw), kilobytes(gzip)]),
)}

After calls of 4,096 · 8 · 256 · 64, the kernel holds ${kilobytes(heldMemory.wasmBytes)} of WASM memory, shared by all groups of a
thread. A call with reused \`out\` leaves ${Math.max(0, heldMemory.heapBytesPerCall).toFixed(1)} bytes on the JavaScript heap.
`;
}

/** Nanoseconds per token of every variant on every configuration. */
export function layoutsTable(layouts: readonly Entry[]): string {
  const columns = Object.keys(layouts[0].seconds);
  return table(
    ['T · K · E · R', ...columns],
    layouts.map(({ configuration, seconds }) => [
      titleOf(configuration),
      ...columns.map((name) => {
        if (!(name in seconds)) return '';
        const percent = (100 * spread(seconds[name])).toFixed(0);
        return `${nanosecondsPerToken(configuration, seconds[name])} ±${percent}%`;
      }),
    ]),
  );
}

/** How much faster the kernel and the whole call are. */
export function ratiosTable(layouts: readonly Entry[]): string {
  const pairs = [
    [names.kernel, names.plain],
    [names.kernel, names.plainOnly],
    [names.kernel, names.simple],
    [names.kernel, names.simpleMask],
    [names.kernel, names.native],
    [names.workspace, names.plain],
    [names.call, names.plain],
    [names.call, names.plainOnly],
  ] as const;
  return table(
    ['T · K · E · R', ...pairs.map(([faster, than]) => `${faster} : ${than}`)],
    layouts.map(({ configuration, seconds }) => [
      titleOf(configuration),
      ...pairs.map(([faster, than]) =>
        faster in seconds && than in seconds ? medianRatio(seconds[than], seconds[faster]).toFixed(2) : '',
      ),
    ]),
  );
}

function scalingTable(
  title: string,
  entries: readonly Entry[],
  sizeOf: (configuration: Configuration) => number,
  cell: (configuration: Configuration, seconds: readonly number[]) => string,
): string {
  const columns = Object.keys(entries[0].seconds);
  return table(
    [title, ...columns],
    entries.map(({ configuration, seconds }) => [
      sizeOf(configuration).toLocaleString('en'),
      ...columns.map((name) => cell(configuration, seconds[name])),
    ]),
  );
}

function histogramTable({ histograms, layouts }: Results): string {
  const whole = layouts.find(({ configuration }) => titleOf(configuration) === titleOf(histogramConfiguration));
  if (whole === undefined) throw new Error('the configuration of the histograms is not among the layouts');
  const rows = [
    ...Object.entries(histograms).map(([name, seconds]) => [`${name}, histogram only`, seconds] as const),
    ...[names.call, names.kernel].map((name) => [`${name}, whole layout`, whole.seconds[name]] as const),
  ];
  return table(
    ['', 'µs'],
    rows.map(([name, seconds]) => [name, (median(seconds) * 1e6).toFixed(1)]),
  );
}

function nanosecondsPerToken({ numTokens }: Configuration, seconds: readonly number[]): string {
  return ((median(seconds) / numTokens) * 1e9).toFixed(1);
}

function millionsPerSecond({ numTokens }: Configuration, seconds: readonly number[]): string {
  return (numTokens / median(seconds) / 1e6).toFixed(1);
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}

/** A Markdown table; all columns but the first are aligned to the right. */
function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map((_, column) => (column === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}
