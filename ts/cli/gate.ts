/**
 * The limits of `--fail-above`: the command ends with exit code 1 if a figure of balance is above one.
 *
 * @module
 */
import { InvalidArgumentError } from 'commander';
import { type Balance, type BalanceFigure, loadPlacement, type Spread } from './library.ts';

/** Whose loads a figure is of. */
export type GateSubject = 'ranks' | 'nodes' | 'experts';

/** A limit. */
export interface Gate {
  /** As it was given. */
  readonly text: string;
  readonly subject: GateSubject;
  /** Whether the figures are those of layers, or those of the windows of each layer. */
  readonly of: 'layers' | 'windows';
  /** Which of these figures must not be above the limit. */
  readonly percentile: keyof Spread;
  readonly figure: BalanceFigure;
  readonly limit: number;
}

/** The figures of one layer. */
export interface GatedLayer {
  /** Its number, or `null` where the file is a single matrix. */
  readonly layer: number | null;
  /** Of the whole layer; null where there is nothing to count. */
  readonly balance: Balance | null;
  /** Over its windows. */
  readonly windows: Readonly<Record<BalanceFigure, Spread>> | null;
}

/** Whether a limit is kept. */
export interface GateResult {
  readonly gate: Gate;
  /** The figure that is compared with the limit; null where there is nothing to count. */
  readonly value: number | null;
  readonly isExceeded: boolean;
  /** If it is exceeded: the layers that are above the limit, the worst first. */
  readonly layers: readonly { readonly layer: number | null; readonly value: number }[];
}

const subjects: Readonly<Record<GateSubject, true>> = { ranks: true, nodes: true, experts: true };
const percentiles: Readonly<Record<keyof Spread, true>> = { p50: true, p95: true, worst: true };
const figures: Readonly<Record<BalanceFigure, true>> = { 'max/mean': true, 'mean/max': true, '(max-mean)/mean': true };

/**
 * Parses `[windows:][p50:|p95:|worst:][ranks:|nodes:|experts:]FIGURE=LIMIT`. The words before the figure can be in any
 * order.
 *
 * @param earlier the limits that were given before this one.
 */
export function parseGate(text: string, earlier: readonly Gate[] = []): readonly Gate[] {
  const [, words, figure, number] = /^((?:\w+:)*)([^:=]+)=(\d+(?:\.\d+)?)$/.exec(text) ?? [];
  if (number === undefined || !Object.hasOwn(figures, figure)) {
    throw new InvalidArgumentError(`Give a figure and a limit, such as max/mean=1.5; figures are ${namesOf(figures)}.`);
  }
  const limit = Number(number);
  if (figure === 'mean/max') {
    const remedy = limit === 0 ? 'max/mean' : `max/mean=${Number((1 / limit).toFixed(4))}`;
    throw new InvalidArgumentError(`mean/max is better where it is larger; pass ${remedy}.`);
  }
  let gate: Gate = {
    text,
    subject: 'ranks',
    of: 'layers',
    percentile: 'worst',
    figure: figure as BalanceFigure,
    limit,
  };
  for (const word of words.split(':').slice(0, -1)) {
    if (Object.hasOwn(subjects, word)) gate = { ...gate, subject: word as GateSubject };
    else if (Object.hasOwn(percentiles, word)) gate = { ...gate, percentile: word as keyof Spread };
    else if (word === 'windows') gate = { ...gate, of: 'windows' };
    else {
      const known = `windows, ${namesOf(percentiles)}, ${namesOf(subjects)}`;
      throw new InvalidArgumentError(`'${word}' is none of ${known}.`);
    }
  }
  return [...earlier, gate];
}

function namesOf(table: object): string {
  return Object.keys(table).join(', ');
}

/**
 * Compares a figure with its limit.
 *
 * @param layers the figures of the subject of the limit.
 */
export async function checkGate(gate: Gate, layers: readonly GatedLayer[]): Promise<GateResult> {
  const { spreadOf } = await loadPlacement();
  const { of, percentile, figure, limit } = gate;
  const known = layers.flatMap(({ layer, balance, windows }) => {
    const value = of === 'windows' ? windows?.[figure][percentile] : balance?.[figure];
    return value === undefined ? [] : [{ layer, value }];
  });
  const value =
    of === 'windows'
      ? known.reduce<number | null>((most, each) => Math.max(most ?? 0, each.value), null)
      : (spreadOf(layers.map(({ balance }) => balance))?.[figure][percentile] ?? null);
  const isExceeded = value !== null && value > limit;
  const above = known.filter((each) => each.value > limit).sort((left, right) => right.value - left.value);
  return { gate, value, isExceeded, layers: isExceeded ? above : [] };
}
