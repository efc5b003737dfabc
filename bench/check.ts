/**
 * How many times as fast as another a variant should be, and whether a run meets that. Ratios vary much less from
 * machine to machine than times do.
 *
 * @module
 */
import { mainLists, titleOf } from './configurations.ts';
import type { Entry } from './results.ts';
import { medianRatio } from './statistics.ts';
import { names } from './variants/names.ts';

/** The lists whose ratios are checked, and what was measured of each. */
export type CheckedLists = Readonly<Record<(typeof mainLists)[number], readonly Entry[]>>;

/** How many times as fast as another a variant is. */
export interface Expectation {
  readonly list: keyof CheckedLists;
  readonly configuration: string;
  readonly faster: string;
  readonly than: string;
  readonly ratio: number;
}

/** `expectations.json`. */
export interface Expectations {
  /** A ratio may fall short by this share of itself. */
  readonly tolerance: number;
  readonly ratios: readonly Expectation[];
}

/** An expectation and what was measured. */
export interface Finding extends Expectation {
  readonly measured: number;
  readonly isMet: boolean;
}

/** Of two variants, the first should be so many times as fast as the second. For orders beside layouts that is below 1. */
const pairsOfOrders = [
  [names.kernel, names.plainOnly],
  [names.kernel, names.layoutKernel],
  [names.kernel, names.native],
  [names.workspace, names.plainOnly],
  [names.call, names.plainOnly],
] as const;

const pairs = {
  layouts: [
    [names.kernel, names.plain],
    [names.kernel, names.simple],
    [names.kernel, names.native],
    [names.workspace, names.plain],
    [names.call, names.plain],
  ],
  byExpert: pairsOfOrders,
  byRank: pairsOfOrders,
} as const;

/** With fewer tokens, a time is mostly that of the calls themselves, and the ratios vary too much. */
const minTokens = 64;

/** The expectations that these results give. */
export function expectationsOf(results: CheckedLists, tolerance: number): Expectations {
  const ratios = mainLists.flatMap((list) =>
    results[list]
      .filter(({ configuration }) => configuration.numTokens >= minTokens)
      .flatMap(({ configuration, seconds }) =>
        pairs[list]
          .filter(([faster, than]) => faster in seconds && than in seconds)
          .map(([faster, than]) => {
            const ratio = Number(medianRatio(seconds[than], seconds[faster]).toFixed(2));
            return { list, configuration: titleOf(configuration), faster, than, ratio };
          }),
      ),
  );
  return { tolerance, ratios };
}

/**
 * Compares results with expectations. Expectations of a list that was not measured are left out, and so is one of a
 * variant that could not be measured here.
 */
export function checkExpectations({ tolerance, ratios }: Expectations, results: CheckedLists): Finding[] {
  return ratios.flatMap((expectation) => {
    const { list, configuration, faster, than, ratio } = expectation;
    if (results[list].length === 0) return [];
    const entry = results[list].find((candidate) => titleOf(candidate.configuration) === configuration);
    if (entry === undefined) throw new Error(`expectations.json names '${configuration}', which is not measured`);
    if (!(faster in entry.seconds && than in entry.seconds)) return [];
    const measured = medianRatio(entry.seconds[than], entry.seconds[faster]);
    return [{ ...expectation, measured, isMet: measured >= ratio * (1 - tolerance) }];
  });
}
