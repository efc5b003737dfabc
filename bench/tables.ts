/**
 * The tables that sections of `docs/benchmarks.md` share.
 *
 * @module
 */
import { type Configuration, titleOf } from './configurations.ts';
import type { Entry } from './results.ts';
import { median, medianRatio, spread } from './statistics.ts';
import { names } from './variants/names.ts';

/** Nanoseconds per token of every variant on every configuration. */
export function variantsTable(entries: readonly Entry[]): string {
  const columns = Object.keys(entries[0].seconds);
  return table(
    ['T · K · E · R', ...columns],
    entries.map(({ configuration, seconds }) => [
      titleOf(configuration),
      ...columns.map((name) => {
        if (!(name in seconds)) return '';
        const time = nanosecondsPerToken(configuration, seconds[name]);
        return seconds[name].length === 1 ? time : `${time} ±${(100 * spread(seconds[name])).toFixed(0)}%`;
      }),
    ]),
  );
}

/** Microseconds of every variant, and how many times as long as that of a whole call of the library it is. */
export function pythonTable(entries: readonly Entry[]): string {
  return table(
    ['T · K · E · R', ...entries.map(({ configuration }) => titleOf(configuration))],
    Object.keys(entries[0].seconds).map((name) => [
      name,
      ...entries.map(({ seconds }) => {
        const ratio = medianRatio(seconds[name], seconds[names.call]);
        return `${microseconds(seconds[name])} (${ratio.toFixed(ratio < 10 ? 1 : 0)}×)`;
      }),
    ]),
  );
}

/**
 * The ratios of pairs of variants, with a column for each pair.
 *
 * @param of `speeds`: how many times as fast the first of a pair is as the second. `times`: how many times as long it
 *   takes.
 */
export function ratiosTable(
  entries: readonly Entry[],
  of: 'speeds' | 'times',
  pairs: readonly (readonly [string, string])[],
): string {
  const sign = of === 'speeds' ? ':' : '÷';
  return table(
    ['T · K · E · R', ...pairs.map(([first, second]) => `${first} ${sign} ${second}`)],
    entries.map(({ configuration, seconds }) => [
      titleOf(configuration),
      ...pairs.map(([first, second]) => {
        if (!(first in seconds && second in seconds)) return '';
        const [slower, than] = of === 'speeds' ? [second, first] : [first, second];
        return medianRatio(seconds[slower], seconds[than]).toFixed(2);
      }),
    ]),
  );
}

/** The number of processes that measured these. */
export function numProcessesOf(entries: readonly Entry[]): number {
  return Object.values(entries[0].seconds)[0].length;
}

export function nanosecondsPerToken({ numTokens }: Configuration, seconds: readonly number[]): string {
  return ((median(seconds) / numTokens) * 1e9).toFixed(1);
}

function microseconds(seconds: readonly number[]): string {
  const value = median(seconds) * 1e6;
  return value.toLocaleString('en', { maximumFractionDigits: value < 100 ? 1 : 0 });
}

/** A Markdown table; all columns but the first are aligned to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map((_, column) => (column === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}
