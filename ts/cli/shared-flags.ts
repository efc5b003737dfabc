/**
 * The flags that several commands have.
 *
 * @module
 */
import { Option } from 'commander';
import { fail } from './fail.ts';
import {
  anyId,
  deviceChoice,
  deviceChoices,
  type InvalidExperts,
  invalidExpertsChoices,
  layerChoice,
  limits,
  replicaRuleChoices,
  wholeNumber,
} from './flags.ts';
import { type Gate, parseGate } from './gate.ts';
import { type DeviceOption, idTypeNames } from './library.ts';
import type { RoutingFlags } from './read/routing.ts';

/** The flags, as commander reads them. `--device` is also a flag of `doctor`. */
export const sharedFlags = {
  numExperts: new Option('--num-experts <count>', 'experts over all ranks (required)').argParser(
    wholeNumber(1, limits.experts),
  ),
  placement: new Option(
    '--placement <file>',
    "the rank of each expert, a plan as place writes it, 'linear' or 'round_robin' (default: equal blocks)",
  ),
  planPlacement: new Option(
    '--placement <file>',
    "the placement of today: a plan of SGLang, TensorRT-LLM, vLLM, vllm-ascend or EPLB, the rank of each expert, 'linear' or 'round_robin' (default: linear)",
  ),
  failAbove: new Option(
    '--fail-above <limit>',
    "end with exit code 1 if a figure of ranks is above this, such as 'max/mean=1.5' or 'p95:max/mean=1.2'; can be repeated",
  ).argParser(parseGate),
  replicaRule: new Option(
    '--replica-rule <rule>',
    'which replica of an expert a token takes (default: round_robin)',
  ).choices(replicaRuleChoices),
  sourceRank: new Option(
    '--source-rank <rank>',
    'the rank that sends the tokens, for the rule nearest (default: that of the file)',
  ).argParser(wholeNumber(0, limits.ranks - 1)),
  device: new Option('--device <device>', 'the device that computes')
    .choices(deviceChoices)
    .argParser(deviceChoice)
    .default('auto'),
  invalidExperts: new Option(
    '--invalid-experts <mode>',
    'whether ids that are neither empty nor experts are an error or skipped',
  )
    .choices(invalidExpertsChoices)
    .default('throw'),
  fingerprint: new Option('--fingerprint', 'also the SHA-256 of the ids, which does not depend on the format'),
  json: new Option('--json', 'print one JSON document instead of the report'),
} as const;

/** The number of tokens of a batch, for which ranks wait, unless `--window` says another. */
export const defaultWindow = 4096;

/** The flags that say how routing files are read. Every command that reads them has all of these. */
export const readingFlags: readonly Option[] = [
  new Option('--layer <index>', "the layer to compute, from 0, or 'all' (default: all)").argParser(layerChoice),
  new Option(
    '--axes <axes>',
    'the dimensions of the array, such as tokens,layers,topk (default: those of the format, or by evidence)',
  ),
  new Option('--array <name>', 'which array of a file of several to read'),
  new Option('--num-layers <count>', 'layers, where the file is a flat row of ids').argParser(
    wholeNumber(1, limits.layers),
  ),
  new Option('--num-topk <count>', 'experts of each token, where the file is a flat row of ids').argParser(
    wholeNumber(1, limits.experts),
  ),
  new Option('--dtype <type>', 'the type of the ids, where the file does not say it').choices(idTypeNames),
  new Option('--empty-id <id>', 'an id that stands for an empty slot, beside -1').argParser(anyId),
];

/** The same flags, parsed, with those that differ only in what the help says of them. */
export interface SharedFlags extends RoutingFlags {
  readonly numExperts?: number;
  readonly numRanks?: number;
  readonly placement?: string;
  readonly emptyId?: number | bigint;
  readonly device: DeviceOption;
  readonly invalidExperts: InvalidExperts;
  readonly out?: string;
  readonly json?: true;
}

/** The flag of commands that compute figures of balance, parsed. */
export interface GateFlags {
  readonly failAbove?: readonly Gate[];
}

/** The paths of the routing files. */
export function requireFiles(paths: readonly string[]): readonly string[] {
  return paths.length > 0 ? paths : fail('no FILE given; see dispatch-layout --help');
}

/** The value of `--num-experts`. */
export function requireNumExperts({ numExperts }: Pick<SharedFlags, 'numExperts'>): number {
  return numExperts ?? fail('--num-experts E is missing: the number of experts over all ranks');
}

/** The value of `--num-ranks`. */
export function requireNumRanks({ numRanks }: Pick<SharedFlags, 'numRanks'>): number {
  return numRanks ?? fail('--num-ranks R is missing: the number of ranks that share the experts');
}
