/**
 * Draws the workloads of `generate --workload`, and checks their flags.
 *
 * @module
 */
import { fail } from '../fail.ts';
import { startProgress } from '../progress.ts';
import { LayerOfTokens, raggedTokens, usualWorkload, type Workload, type WorkloadName } from '../workloads/workload.ts';

/** The flags of `generate` that say what is drawn, parsed: those of all routing, and those of workloads. */
export interface WorkloadFlags {
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numGroups: number;
  readonly topkGroups?: number;
  readonly skew: number;
  readonly emptyShare: number;
  readonly seed: number;
  readonly layers?: number;
  readonly workload?: WorkloadName;
  readonly numHot?: number;
  readonly hotShare?: number;
  readonly numRanks?: number;
  readonly hotRank?: number;
  readonly maxOverMean?: number;
  readonly sigma?: number;
  readonly period?: number;
  readonly burst?: number;
  readonly duplicates?: number;
  readonly ragged?: number;
}

const hot = { numHot: '--num-hot', hotShare: '--hot-share' };

/** The flags that each workload uses, beside those of all. */
const flagsOf: Readonly<Record<WorkloadName, Readonly<Partial<Record<keyof WorkloadFlags, string>>>>> = {
  balanced: {},
  'k-hot': hot,
  'hot-rank': { numRanks: '--num-ranks', hotRank: '--hot-rank', maxOverMean: '--max-over-mean' },
  'log-normal': { sigma: '--sigma' },
  rotating: { ...hot, period: '--period' },
  burst: { ...hot, period: '--period', burst: '--burst' },
  'uneven-ranks': { numRanks: '--num-ranks', maxOverMean: '--max-over-mean' },
};

const allFlags: Readonly<Partial<Record<keyof WorkloadFlags, string>>> = Object.assign({}, ...Object.values(flagsOf));

/**
 * Refuses flags that would change nothing.
 *
 * @param hasRanks whether there is a file for each rank.
 */
export function checkWorkload(flags: WorkloadFlags, hasRanks: boolean): void {
  const { workload } = flags;
  if (workload === undefined) {
    const given = Object.entries({ ...allFlags, duplicates: '--duplicates', ragged: '--ragged' });
    for (const [name, flag] of given) {
      if (flags[name as keyof WorkloadFlags] !== undefined)
        fail(`${flag} is a flag of workloads; pass --workload, too`);
    }
    if (hasRanks) fail('files for each rank need a --workload, such as balanced');
    return;
  }
  if (flags.numGroups !== 1 || flags.topkGroups !== undefined || flags.skew !== 0) {
    fail(`--num-groups, --topk-groups and --skew are no flags of --workload ${workload}; leave them out`);
  }
  const used = flagsOf[workload];
  for (const [name, flag] of Object.entries(allFlags)) {
    const isOfFiles = name === 'numRanks' && hasRanks;
    if (flags[name as keyof WorkloadFlags] === undefined || name in used || isOfFiles) continue;
    const own = Object.values(used);
    fail(`${flag} is no flag of --workload ${workload}, which has ${own.length === 0 ? 'none' : own.join(', ')}`);
  }
  if (flags.numRanks === undefined && ('numRanks' in used || hasRanks)) {
    fail(
      `--num-ranks R is missing: the number of ranks ${hasRanks ? 'that each have a file' : 'that share the experts'}`,
    );
  }
  if (flags.ragged !== undefined && !hasRanks)
    fail('--ragged needs a file for each rank: write {rank} in the name of FILE');
}

/** The number of tokens of each rank. */
export function tokensOfRanks({ numTokens, numRanks = 1, ragged, seed }: WorkloadFlags): Int32Array {
  if (ragged === undefined) return new Int32Array(numRanks).fill(numTokens);
  return raggedTokens(numTokens * numRanks, numRanks, ragged, seed);
}

/** The most tokens that are drawn at once. */
const tokensAtOnce = 1024;

/** The ids of `[numLayers, numTokens, numTopk]`, row-major, in pieces. Each overwrites the one before. */
export function* drawWorkload(
  flags: WorkloadFlags,
  rank: number,
  numTokens: number,
): Generator<Int32Array, void, void> {
  const { numTopk, layers = 1 } = flags;
  const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
  const workload = { ...usualWorkload, numRanks: 1, ...given, name: flags.workload } as Workload;
  const ids = new Int32Array(Math.min(tokensAtOnce, numTokens) * numTopk);
  const progress = startProgress('generating', layers * numTokens, 'tokens');
  try {
    for (let layer = 0; layer < layers; layer++) {
      const tokens = new LayerOfTokens(workload, layer, rank);
      for (let first = 0; first < numTokens; first += tokensAtOnce) {
        const piece = ids.subarray(0, Math.min(tokensAtOnce, numTokens - first) * numTopk);
        tokens.draw(piece);
        yield piece;
        progress.update(layer * numTokens + first);
      }
    }
  } finally {
    progress.stop();
  }
}
