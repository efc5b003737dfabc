/**
 * How many times as fast as another a variant should be, and whether a run meets that. Ratios vary much less from
 * machine to machine than times do.
 *
 * @module
 */
import { titleOf } from './configurations.ts';
import type { Entry } from './results.ts';
import { medianRatio } from './statistics.ts';
import { names } from './variants/names.ts';

/** How many times as fast as another a variant is. */
export interface Expectation {
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

const pairs = [
  [names.kernel, names.plain],
  [names.kernel, names.simple],
  [names.kernel, names.native],
  [names.workspace, names.plain],
  [names.call, names.plain],
] as const;

/** The expectations that these results give. */
export function expectationsOf(layouts: readonly Entry[], tolerance: number): Expectations {
  const ratios = layouts.flatMap(({ configuration, seconds }) =>
    pairs
      .filter(([faster, than]) => faster in seconds && than in seconds)
      .map(([faster, than]) => {
        const ratio = Number(medianRatio(seconds[than], seconds[faster]).toFixed(2));
        return { configuration: titleOf(configuration), faster, than, ratio };
      }),
  );
  return { tolerance, ratios };
}

/** Compares results with expectations. An expectation of a variant that could not be measured here is left out. */
export function checkExpectations({ tolerance, ratios }: Expectations, layouts: readonly Entry[]): Finding[] {
  return ratios.flatMap((expectation) => {
    const { configuration, faster, than, ratio } = expectation;
    const entry = layouts.find((candidate) => titleOf(candidate.configuration) === configuration);
    if (entry === undefined) throw new Error(`expectations.json names '${configuration}', which is not measured`);
    if (!(faster in entry.seconds && than in entry.seconds)) return [];
    const measured = medianRatio(entry.seconds[than], entry.seconds[faster]);
    return [{ ...expectation, measured, isMet: measured >= ratio * (1 - tolerance) }];
  });
}
