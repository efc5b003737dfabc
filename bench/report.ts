/**
 * Makes `docs/benchmarks.md` and the tables on the terminal from the results.
 *
 * @module
 */
import type { Configuration } from './configurations.ts';
import { ordersSection } from './orders-report.ts';
import type { Entry, Results } from './results.ts';
import { median } from './statistics.ts';
import { nanosecondsPerToken, numProcessesOf, pythonTable, ratiosTable, table, variantsTable } from './tables.ts';
import { names } from './variants/names.ts';

/** The whole document. */
export function report(results: Results): string {
  const { machine, variants, layouts, firstCalls, heldMemory, sizes } = results;
  return `# Benchmarks

Made by \`./build.sh bench\` from [bench/results/benchmarks.json](../bench/results/benchmarks.json); do not edit. Measured on
${results.date.slice(0, 10)}, in processes that ran one after the other: ${numProcessesOf(layouts)} for the first section, and ${numProcessesOf(results.overTokens)} for the sections after it, up to and including Python.
Each process first checks every variant against the oracle of the conformance suite or, if there are more than 100,000 tokens,
against the \`js\` device. Then it times the variants in turn. Every figure is the median over the processes; ± is half the
difference between the slowest and the fastest process, in percent of the median.

T · K · E · R are the numbers of tokens, of experts that each token selects (top-k), of experts and of ranks, with 8 ranks a
node. The routing is uniformly random unless the row says otherwise. In \`skewed\`, an eighth of the experts gets 44 % of the
selections. In \`half empty\`, each slot is -1 with a probability of one half.

${table(['', ''], Object.entries(machine))}

## Layouts

Nanoseconds per token:

${variantsTable(layouts)}

${Object.entries(variants)
  .map(([name, description]) => `- **${name}**: ${description}.`)
  .join('\n')}

The plain function becomes slower once V8 has seen it called with both types of arrays, because V8 then compiles one piece of
code for both. The table has both figures, since both occur in practice: \`${names.plain}\` is the time of a library that accepts
either type, and \`${names.plainOnly}\` is the time of a loop that is written for a single model.

![Nanoseconds per token of each variant](benchmarks-layouts.svg)

How many times as fast the first variant of each column is as the second (medians of the ratios within each process):

${layoutRatiosTable(layouts)}

The ratio to \`native\` is the share of the native build's speed that the WASM kernel reaches. At 0.80, it takes 1.25 times as long.

## From 1 to 10,000,000 tokens

The figures are millions of tokens per second, for top-8 of 256 experts on 8 ranks:

${scalingTable('tokens', results.overTokens, ({ numTokens }) => numTokens, millionsPerSecond)}

![Tokens per second over the number of tokens](benchmarks-tokens.svg)

## More ranks, and more experts

The figures are nanoseconds per token, for 4,096 tokens and top-8. The first table has 256 experts on more and more ranks. With
up to 64 ranks, the kernel builds a token's row of the mask in a register:

${scalingTable('ranks', results.overRanks, ({ numRanks }) => numRanks, nanosecondsPerToken)}

The second table has 8 ranks with more and more experts. With more than 4,088 experts, the kernel's table is too large for 16-bit
offsets:

${scalingTable('experts', results.overExperts, ({ numExperts }) => numExperts, nanosecondsPerToken)}

![Nanoseconds per token over ranks and over experts](benchmarks-sizes.svg)

## The same layout in Python

This is what one would use in Python, on the CPU. It computes the whole layout, with all four outputs, from the same ids. The
figures are microseconds per layout; in brackets is how many times as long as \`${names.call}\` that is:

${pythonTable(results.inPython)}

${pythonNotes(results.inPython)}

${ordersSection(results)}

## The first call

A fresh process of Node.js loads the library, by \`import\` or by \`require\`, and computes a layout of two tokens
(\`[[0, 5], [6, -1]]\`), for which the kernel is decoded, compiled and instantiated. The figures are medians of 20 processes.
Resident memory is that of the whole process after the layout, including Node.js itself; in brackets is what loading the library
added to it.

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
  ['file', 'raw', 'gzip'],
  Object.entries(sizes).map(([name, { raw, gzip }]) => [name, kilobytes(raw), kilobytes(gzip)]),
)}

Each of the two rows for browsers is one file, minified by esbuild, which contains the kernel.

After calls of 4,096 · 8 · 256 · 64, the kernel holds ${kilobytes(heldMemory.wasmBytes)} of WASM memory, which all groups of a thread
share. A call with reused \`out\` leaves ${Math.max(0, heldMemory.heapBytesPerCall).toFixed(1)} bytes on the JavaScript heap.
`;
}

/** How many times as fast as other variants the kernel, a workspace and a whole call are. */
export function layoutRatiosTable(entries: readonly Entry[]): string {
  return ratiosTable(entries, 'speeds', [
    [names.kernel, names.plain],
    [names.kernel, names.plainOnly],
    [names.kernel, names.simple],
    [names.kernel, names.native],
    [names.workspace, names.plain],
    [names.call, names.plain],
    [names.call, names.plainOnly],
  ]);
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

/** Explains the rows of the table, and says which of them are missing. */
export function pythonNotes(entries: readonly Entry[]): string {
  const rows = Object.keys(entries[0].seconds);
  const threads = rows.some((name) => name.endsWith('threads'))
    ? "The rows that name a number of threads use PyTorch's default."
    : "One thread is also PyTorch's default on this machine.";
  return [
    rows.includes('numpy')
      ? '- **numpy**: vectorised, a few operations over all tokens at once. None of them uses more than one thread.'
      : '- **numpy** is not installed here, or Python itself is not, so its row is missing.',
    ...(rows.includes('PyTorch')
      ? [
          `- **PyTorch**: the same operations, in one thread (\`torch.set_num_threads(1)\`). ${threads}`,
          "- **PyTorch, DeepEP's tests**: how DeepEP's own tests compute the layout with which they check its kernel. They loop over\n" +
            '  ranks and experts, and are meant to be clear, not to be fast. The code is in `test/parity/deepep_reference.py`.',
        ]
      : ['- **PyTorch** is not installed here, or numpy is not, so its rows are missing.']),
    `- All of Python's rows take int64 ids and make new arrays for every layout, as \`${names.newArrays}\` does. JavaScript uses one`,
    '  thread.',
  ].join('\n');
}

function millionsPerSecond({ numTokens }: Configuration, seconds: readonly number[]): string {
  return (numTokens / median(seconds) / 1e6).toFixed(1);
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
