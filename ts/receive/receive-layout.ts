/**
 * What a rank receives, computed from what all ranks send to it. DeepEP computes a part of it in `notify_dispatch`.
 *
 * @module
 */
import { allocateInt32 } from '../errors/allocate.ts';
import { DispatchLayoutError } from '../errors/errors.ts';

/** What all ranks send to one rank. */
export interface Arrivals {
  /** The rank that receives. */
  readonly rank: number;
  /** The number of ranks of the group. */
  readonly numRanks: number;
  /** The number of experts over all ranks. */
  readonly numExperts: number;
  /** The number of experts on this rank. They count up by their global ids, whatever the placement. */
  readonly numLocalExperts: number;
  /** What the rows of each expert are padded to a multiple of. */
  readonly alignment: number;
  /** `[numRanks]` int32: the tokens that each rank sends to this one. */
  readonly numTokensPerSourceRank: Int32Array;
  /** `[numRanks, numLocalExperts]` int32, row-major: the selections of each local expert that each rank sends. */
  readonly numTokensPerSourceRankAndExpert: Int32Array;
}

/** Where the counts of one source rank are read. */
export interface SourceCounts {
  /** The tokens that it sends to the rank that receives. */
  tokens(): number;
  /** Its selections of a local expert: the number of the expert on its rank, and its id. */
  selections(local: number, expert: number): number;
}

/**
 * Collects what all ranks send to one rank.
 *
 * @param localExperts the ids of the experts on it.
 * @throws DispatchLayoutError `OUT_OF_MEMORY`, and what reading the counts throws.
 */
export function collectArrivals(
  shape: Pick<Arrivals, 'rank' | 'numRanks' | 'numExperts' | 'alignment'>,
  localExperts: Int32Array,
  countsOf: (source: number) => SourceCounts,
): Arrivals {
  const { numRanks } = shape;
  const numLocalExperts = localExperts.length;
  const numTokensPerSourceRank = new Int32Array(numRanks);
  const what = `the table of ${numRanks} source ranks x ${numLocalExperts} experts`;
  const remedy = 'Spread the experts over the ranks.';
  const numTokensPerSourceRankAndExpert = allocateInt32(numRanks * numLocalExperts, what, remedy);
  for (let source = 0; source < numRanks; source++) {
    const counts = countsOf(source);
    numTokensPerSourceRank[source] = counts.tokens();
    for (let local = 0; local < numLocalExperts; local++) {
      const index = source * numLocalExperts + local;
      numTokensPerSourceRankAndExpert[index] = counts.selections(local, localExperts[local]);
    }
  }
  return { ...shape, numLocalExperts, numTokensPerSourceRank, numTokensPerSourceRankAndExpert };
}

/** What `getReceiveLayout` and `exchange` return: what one rank receives, and where the rows of it lie. */
export interface ReceiveLayout extends Arrivals {
  /** The number of tokens that this rank receives, each once, in the order (source rank, token). */
  readonly numTokens: number;
  /**
   * `[numRanks + 1]` int32: the first received token of each source rank; last, `numTokens`. Without the leading 0, it
   * is what DeepEP V2 calls `psum_num_recv_tokens_per_scaleup_rank`. DeepEP V1's `rank_prefix_matrix[source][rank]` is
   * `sourceRankOffsets[source + 1]` of the receiving rank.
   */
  readonly sourceRankOffsets: Int32Array;
  /** `[numLocalExperts]` int32: the received selections of each local expert. */
  readonly numTokensPerExpert: Int32Array;
  /**
   * `[numLocalExperts + 1]` int32: the first row of each local expert in the order by expert, a multiple of
   * `alignment`; last, the number of rows. It is what `getExpertPermutation` of the received tokens gives.
   */
  readonly expertOffsets: Int32Array;
  /** The number of rows in the order by expert, padding included: the last of `expertOffsets`. */
  readonly numRows: number;
}

/**
 * Adds up what all ranks send to one rank.
 *
 * @throws DispatchLayoutError `SENT` if the counts of a rank contradict each other; `TOO_LARGE` if int32 cannot number
 *   the received tokens or the rows.
 */
export function receiveLayoutOf(arrivals: Arrivals): ReceiveLayout {
  const { numRanks, numLocalExperts, alignment } = arrivals;
  const { numTokensPerSourceRank, numTokensPerSourceRankAndExpert } = arrivals;
  const sourceRankOffsets = new Int32Array(numRanks + 1);
  let numTokens = 0;
  for (let source = 0; source < numRanks; source++) {
    checkSelections(source, arrivals);
    numTokens = checkedSum(numTokens + numTokensPerSourceRank[source], 'tokens', arrivals);
    sourceRankOffsets[source + 1] = numTokens;
  }
  const numTokensPerExpert = new Int32Array(numLocalExperts);
  const expertOffsets = new Int32Array(numLocalExperts + 1);
  let numRows = 0;
  for (let expert = 0; expert < numLocalExperts; expert++) {
    let selections = 0;
    for (let source = 0; source < numRanks; source++) {
      selections += numTokensPerSourceRankAndExpert[source * numLocalExperts + expert];
    }
    numRows = checkedSum(numRows + Math.ceil(selections / alignment) * alignment, 'rows', arrivals);
    numTokensPerExpert[expert] = selections;
    expertOffsets[expert + 1] = numRows;
  }
  return { ...arrivals, numTokens, sourceRankOffsets, numTokensPerExpert, expertOffsets, numRows };
}

/** Every token that is sent to a rank has a selection there, and every selection has a token. */
function checkSelections(source: number, arrivals: Arrivals): void {
  const { rank, numLocalExperts, numTokensPerSourceRank, numTokensPerSourceRankAndExpert } = arrivals;
  const tokens = numTokensPerSourceRank[source];
  let selections = 0;
  for (let expert = 0; expert < numLocalExperts; expert++) {
    selections += numTokensPerSourceRankAndExpert[source * numLocalExperts + expert];
  }
  if (tokens <= selections && tokens > 0 === selections > 0) return;
  throw new DispatchLayoutError(
    'SENT',
    `rank ${source} sends ${tokens} tokens to rank ${rank}, and ${selections} selections of the experts there`,
    { value: tokens, remedy: 'Pass the counts of layouts of this group, with the same placement of experts.' },
  );
}

const maxInt32 = 2 ** 31 - 1;

function checkedSum(sum: number, what: string, { rank, alignment }: Arrivals): number {
  if (sum <= maxInt32) return sum;
  const padded = what === 'rows' && alignment > 1 ? `, or lower the alignment of ${alignment}` : '';
  throw new DispatchLayoutError('TOO_LARGE', `rank ${rank} receives ${sum} ${what} or more`, {
    value: sum,
    remedy: `int32 numbers at most ${maxInt32}: let the ranks send fewer tokens at once${padded}.`,
  });
}
