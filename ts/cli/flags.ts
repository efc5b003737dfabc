/**
 * What the values of flags can be, and their parsers. The parsers are strict: `8x`, `1e3`, `0x10`, an empty string and
 * numbers out of range are errors.
 *
 * @module
 */
import { InvalidArgumentError } from 'commander';
import {
  anyGpuName,
  type DeviceOption,
  deviceNames,
  type LayoutOptions,
  type MaskForm,
  ordinalIn,
  type PlacementName,
  type PlanFormatName,
  type RankOrder,
  type ReplicaRule,
} from './library.ts';

/**
 * Bounds far above what any machine of today has, so that a mistyped number is a clear error and does not exhaust
 * memory.
 */
export const limits = { experts: 2 ** 20, ranks: 2 ** 16, layers: 10_000, alignment: 2 ** 20 } as const;

/** What happens to ids that are neither empty nor an expert. */
export type InvalidExperts = NonNullable<LayoutOptions['invalidExperts']>;

/** The choices of `--device`. The last one stands for each of several GPUs. */
export const deviceChoices: readonly string[] = ['auto', ...deviceNames, anyGpuName];

/** A parser of `--device`. */
export function deviceChoice(text: string): DeviceOption {
  const isChoice = text !== anyGpuName && deviceChoices.includes(text);
  if (isChoice || ordinalIn(text) !== undefined) return text as DeviceOption;
  throw new InvalidArgumentError(`Allowed choices are ${deviceChoices.join(', ')}.`);
}

// The compiler checks the choices against the type of the library: none is missing, and none is unknown.
const invalidExperts: Readonly<Record<InvalidExperts, true>> = { throw: true, ignore: true };

/** The choices of `--invalid-experts`. */
export const invalidExpertsChoices: readonly string[] = Object.keys(invalidExperts);

const masks: Readonly<Record<MaskForm, true>> = { bytes: true, bits: true, none: true };

/** The choices of `--mask`. */
export const maskChoices: readonly string[] = Object.keys(masks);

const orders: Readonly<Record<OrderName, true>> = { expert: true, rank: true };

/** What `--by` can be: what the rows of an order are grouped by. */
export type OrderName = 'expert' | 'rank';

/** The choices of `--by`. */
export const orderChoices: readonly string[] = Object.keys(orders);

const winners: Readonly<Record<RankOrder['winner'], true>> = { first: true, last: true };

/** The choices of `--winner`. */
export const winnerChoices: readonly string[] = Object.keys(winners);

const placementNames: Readonly<Record<PlacementName, true>> = { linear: true, round_robin: true };

/** Whether the value of `--placement` is the name of a placement, and not that of a file. */
export function isPlacementName(text: string): text is PlacementName {
  return Object.hasOwn(placementNames, text);
}

const planFormats: Readonly<Record<PlanFormatName, true>> = {
  sglang: true,
  'tensorrt-llm': true,
  vllm: true,
  'vllm-ascend': true,
  eplb: true,
  ranks: true,
};

/** The choices of `--format`. */
export const planFormatChoices: readonly string[] = Object.keys(planFormats);

const replicaRules: Readonly<Record<ReplicaRule, true>> = { round_robin: true, hash: true, nearest: true };

/** The choices of `--replica-rule`. */
export const replicaRuleChoices: readonly string[] = Object.keys(replicaRules);

/** A parser of ids: any integer, exactly. */
export function anyId(text: string): number | bigint {
  if (!/^-?\d+$/.test(text)) throw new InvalidArgumentError('Give an integer.');
  return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
}

/** A parser of whole numbers from `least` to `most`. */
export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

/** A parser of one value, or of several that commas separate. */
export function oneOrSeveral<Value>(parse: (text: string) => Value): (text: string) => Value | readonly Value[] {
  return (text) => (text.includes(',') ? text.split(',').map(parse) : parse(text));
}

/** A parser of decimal numbers from `least` to `most`. */
export function decimalNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+(\.\d+)?$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`Give a number from ${least} to ${most}.`);
    }
    return value;
  };
}

/** The layer to read: its index, or `all`. */
export function layerChoice(text: string): number | 'all' {
  if (text === 'all') return text;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw new InvalidArgumentError("Give the index of a layer, from 0, or 'all'.");
  }
  return value;
}
