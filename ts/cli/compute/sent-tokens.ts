/**
 * What ranks and nodes send to each other.
 *
 * @module
 */
import { sendersOf } from '../../capture/senders.ts';
import type { ChosenRouting } from '../read/routing.ts';
import { addTo } from './computed-layers.ts';

/** The tokens that go from each source to each destination. */
export interface Traffic {
  /** Whether files say which rank sends their tokens, or each rank is taken to send an equal share of all tokens. */
  readonly source: 'files' | 'even';
  /** `[numRanks]` of `[numRanks]`: the tokens that each rank (row) sends to each rank, itself included. */
  readonly numTokensBetweenRanks: readonly Float64Array[];
  /** The same between nodes; null within one node. A token counts once for each node that it goes to. */
  readonly numTokensBetweenNodes: readonly Float64Array[] | null;
}

/** The counts of one group of ranks. */
interface GroupShape {
  readonly numRanks: number;
  readonly numRanksPerNode: number;
  readonly numRdmaRanks: number;
}

/** The tokens of one sender, in one layer. */
interface Sent {
  readonly toRanks: Float64Array;
  readonly toNodes: Float64Array | null;
}

/** The layout of a piece, as far as it is counted. */
interface PieceCounts {
  readonly numTokensPerRank: ArrayLike<number>;
  readonly numTokensPerRdmaRank: ArrayLike<number> | null;
}

/** The most ranks for which there are tables of all pairs. */
const maxRanks = 512;

/** Adds up, for each sender, how many tokens go to each rank and node. */
export class SentTokens {
  readonly #shape: GroupShape;
  /** For each file, the rank that sends its tokens; null where no file says it, and all tokens are those of one sender. */
  readonly #senders: readonly number[] | null;
  /** The different senders, in ascending order. */
  readonly #ranks: readonly number[];
  /** For each layer, what each of the different senders sends. */
  readonly #layers: readonly (readonly Sent[])[];

  constructor({ routing, chosen }: ChosenRouting, shape: GroupShape) {
    const { numRanks, numRdmaRanks } = shape;
    this.#shape = shape;
    this.#senders = sendersOf(routing.ranks, numRanks);
    this.#ranks = [...new Set(this.#senders ?? [0])].sort((left, right) => left - right);
    this.#layers = chosen.map(() =>
      this.#ranks.map(() => ({
        toRanks: new Float64Array(numRanks),
        toNodes: numRdmaRanks === 1 ? null : new Float64Array(numRdmaRanks),
      })),
    );
  }

  /**
   * Adds a piece.
   *
   * @param layer the index of the layer among those of the pass.
   * @param file the index of its file; null for rows without a selection, which no file has.
   */
  add(layer: number, file: number | null, { numTokensPerRank, numTokensPerRdmaRank }: PieceCounts): void {
    if (file === null) return;
    const { toRanks, toNodes } =
      this.#layers[layer][this.#senders === null ? 0 : this.#ranks.indexOf(this.#senders[file])];
    addTo(toRanks, numTokensPerRank);
    if (toNodes !== null && numTokensPerRdmaRank !== null) addTo(toNodes, numTokensPerRdmaRank);
  }

  /** The tokens of some layers that go from a rank to another one, and from a node to another one. */
  betweenOthers(layers: readonly number[]): { readonly ranks: number; readonly nodes: number } {
    const { numRanks, numRanksPerNode, numRdmaRanks } = this.#shape;
    let ranks = 0;
    let nodes = 0;
    for (const [index, { toRanks, toNodes }] of this.#sums(layers).entries()) {
      const rank = this.#senders === null ? null : this.#ranks[index];
      ranks += sumOfOthers(toRanks, rank, numRanks);
      if (toNodes !== null) nodes += sumOfOthers(toNodes, nodeOf(rank, numRanksPerNode), numRdmaRanks);
    }
    return { ranks, nodes };
  }

  /** The tokens of some layers between all pairs; null where there are too many ranks for such a table. */
  traffic(layers: readonly number[]): Traffic | null {
    const { numRanks, numRanksPerNode, numRdmaRanks } = this.#shape;
    if (numRanks > maxRanks) return null;
    const betweenRanks = Array.from({ length: numRanks }, () => new Float64Array(numRanks));
    const betweenNodes = Array.from({ length: numRdmaRanks }, () => new Float64Array(numRdmaRanks));
    for (const [index, { toRanks, toNodes }] of this.#sums(layers).entries()) {
      const rank = this.#senders === null ? null : this.#ranks[index];
      addToRows(betweenRanks, rank, toRanks);
      if (toNodes !== null) addToRows(betweenNodes, nodeOf(rank, numRanksPerNode), toNodes);
    }
    return {
      source: this.#senders === null ? 'even' : 'files',
      numTokensBetweenRanks: betweenRanks,
      numTokensBetweenNodes: numRdmaRanks === 1 ? null : betweenNodes,
    };
  }

  /** What each of the different senders sends in some layers together. */
  #sums(layers: readonly number[]): Sent[] {
    return this.#ranks.map((_, sender) => {
      const [{ toRanks, toNodes }] = this.#layers.map((ofSenders) => ofSenders[sender]);
      const sums = { toRanks: new Float64Array(toRanks.length), toNodes: toNodes && new Float64Array(toNodes.length) };
      for (const layer of layers) {
        const sent = this.#layers[layer][sender];
        addTo(sums.toRanks, sent.toRanks);
        if (sums.toNodes !== null && sent.toNodes !== null) addTo(sums.toNodes, sent.toNodes);
      }
      return sums;
    });
  }
}

/** The node of a rank, if the rank is known. */
function nodeOf(rank: number | null, numRanksPerNode: number): number | null {
  return rank === null ? null : Math.floor(rank / numRanksPerNode);
}

/** Adds counts to the row of their source, or if this is not known, an equal share of them to each row. */
function addToRows(rows: readonly Float64Array[], source: number | null, counts: Float64Array): void {
  const share = source === null ? counts.map((count) => count / rows.length) : counts;
  for (const row of source === null ? rows : [rows[source]]) addTo(row, share);
}

/** The sum of all counts but that of `own`, or if this is not known, but an equal share. */
function sumOfOthers(counts: Float64Array, own: number | null, numAll: number): number {
  const all = counts.reduce((sum, count) => sum + count, 0);
  return all - (own === null ? all / numAll : counts[own]);
}
