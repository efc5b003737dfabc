/**
 * Which replica of an expert a token takes, by `--replica-rule` and `--source-rank`.
 *
 * @module
 */
import { fail } from '../fail.ts';
import type { ReplicaRule } from '../library.ts';
import type { ChosenRouting } from './routing.ts';

/** Which replica a token takes. */
export interface ReplicaChoice {
  readonly rule: ReplicaRule;
  /** The rank that sends the tokens, which the rule `nearest` needs. */
  readonly sourceRank: number | undefined;
  readonly numRanksPerNode: number | undefined;
}

/** The flags, parsed. */
export interface ReplicaFlags {
  readonly replicaRule?: ReplicaRule;
  readonly sourceRank?: number;
  readonly ranksPerNode?: number;
}

/** The rule without `--replica-rule`. */
export const defaultReplicaRule: ReplicaRule = 'round_robin';

/** Refuses the flags where experts have no replicas, since they would change nothing. */
export function refuseReplicaFlags({ replicaRule, sourceRank }: ReplicaFlags): void {
  const given = { '--replica-rule': replicaRule, '--source-rank': sourceRank };
  for (const [flag, value] of Object.entries(given)) {
    if (value !== undefined) fail(`${flag} is for a plan with replicas; name one with --placement, or leave it out`);
  }
}

/** Reads the flags. The source rank may be that of the file. */
export function readReplicaChoice(
  { replicaRule: rule = defaultReplicaRule, sourceRank, ranksPerNode }: ReplicaFlags,
  { routing, name }: ChosenRouting,
): ReplicaChoice {
  if (rule !== 'nearest') {
    if (sourceRank !== undefined) fail(`--source-rank is for --replica-rule nearest, and not for ${rule}`);
    return { rule, sourceRank: undefined, numRanksPerNode: undefined };
  }
  const source = sourceRank ?? routing.rank;
  if (source === null) {
    fail(
      `--replica-rule nearest needs the rank that sends the tokens, which ${name} does not say; pass --source-rank S`,
    );
  }
  return { rule, sourceRank: source, numRanksPerNode: ranksPerNode };
}
