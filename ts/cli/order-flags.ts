/**
 * The flags of `permute` that say which order is wanted.
 *
 * @module
 */
import { fail } from './fail.ts';
import type { OrderName } from './flags.ts';
import { type ExpertOrder, expertOrderForm, type RankOrder, rankOrders } from './library.ts';
import type { ReplicaFlags } from './read/replica-choice.ts';
import type { SharedFlags } from './shared-flags.ts';

/** The flags of `permute`, parsed. */
export interface PermuteFlags extends SharedFlags, Omit<ReplicaFlags, 'ranksPerNode'> {
  readonly by: OrderName;
  readonly alignment?: number;
  readonly firstExpert?: number;
  readonly numLocalExperts?: number;
  readonly winner?: RankOrder['winner'];
}

/** The flags that only one of the orders has, by the value of `--by`. */
const flagsOfOrder = {
  expert: { alignment: '--alignment', firstExpert: '--first-expert', numLocalExperts: '--num-local-experts' },
  rank: {
    numRanks: '--num-ranks',
    placement: '--placement',
    winner: '--winner',
    replicaRule: '--replica-rule',
    sourceRank: '--source-rank',
  },
} as const;

/** The order that the flags ask for. A flag of the other order is refused, because it would change nothing. */
export function readOrder(flags: PermuteFlags, numExperts: number): ExpertOrder | RankOrder {
  const other = flags.by === 'expert' ? 'rank' : 'expert';
  for (const [name, flag] of Object.entries(flagsOfOrder[other])) {
    if (flags[name as keyof PermuteFlags] === undefined) continue;
    const remedy = other === 'rank' ? 'pass --by rank, or leave it out' : 'leave it out, or leave out --by rank';
    fail(`${flag} is a flag of the order by ${other}; ${remedy}`);
  }
  return flags.by === 'expert' ? readExpertOrder(flags, numExperts) : rankOrders[flags.winner ?? 'first'];
}

/** Checks the range of local experts, in the words of the flags. */
function readExpertOrder({ firstExpert = 0, alignment = 1, ...flags }: PermuteFlags, numExperts: number): ExpertOrder {
  if (firstExpert >= numExperts) fail(`--first-expert ${firstExpert} is not an expert in [0, ${numExperts})`);
  const numFromFirst = numExperts - firstExpert;
  const { numLocalExperts = numFromFirst } = flags;
  if (numLocalExperts > numFromFirst) {
    const there = `from expert ${firstExpert} on there are ${numFromFirst} of --num-experts ${numExperts}`;
    fail(`--num-local-experts ${numLocalExperts} is too many: ${there}`);
  }
  return { kind: 'byExpert', form: expertOrderForm, firstExpert, numLocalExperts, alignment };
}
