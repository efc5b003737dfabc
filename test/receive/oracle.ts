/**
 * The oracle of what ranks receive. It sends every token literally, as a list of messages, for clarity and not for
 * speed. It shares no code with the library.
 *
 * @module
 */
import { ranksOfExperts } from '../conformance/oracle.ts';

/** A group, and the ids of all of its ranks. */
export interface GroupQuestion {
  /** For each rank, the ids of each of its tokens. */
  readonly rowsOfRanks: readonly (readonly (readonly number[])[])[];
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanksPerNode: number;
  readonly placement?: readonly number[] | 'linear' | 'round_robin' | undefined;
  readonly alignment: number;
}

/** A token on its way. */
interface Message {
  readonly source: number;
  readonly token: number;
  readonly ids: readonly number[];
}

/** What one rank must receive. */
export interface ExpectedReceived {
  readonly numLocalExperts: number;
  readonly numTokens: number;
  readonly numTokensPerSourceRank: readonly number[];
  readonly sourceRankOffsets: readonly number[];
  readonly numTokensPerExpert: readonly number[];
  readonly expertOffsets: readonly number[];
  readonly numRows: number;
  readonly numTokensPerSourceRankAndExpert: readonly number[];
  readonly sourceRankOfRow: readonly number[];
  readonly sourceTokenOfRow: readonly number[];
  readonly topkIdx: readonly (readonly number[])[];
}

/** What a whole group must do. */
export interface ExpectedDispatch {
  readonly received: readonly ExpectedReceived[];
  readonly numTokensBetweenRanks: readonly number[];
  readonly numTokensBetweenNodes: readonly number[];
}

const range = (length: number): number[] => Array.from({ length }, (_, index) => index);
/** 0, and the sums of the first one, two, and more numbers. */
const sumsOf = (counts: readonly number[]): number[] =>
  range(counts.length + 1).map((length) => counts.slice(0, length).reduce((sum, count) => sum + count, 0));

/** The correct dispatch of a group. */
export function dispatchOf(question: GroupQuestion): ExpectedDispatch {
  const { rowsOfRanks, numExperts, numRanksPerNode, placement, alignment } = question;
  const numRanks = rowsOfRanks.length;
  const rankOf = ranksOfExperts({ rows: [], numExperts, numRanks, placement });
  const numNodes = Math.max(1, numRanks / numRanksPerNode);
  const nodeOf = (rank: number): number => (numNodes === 1 ? 0 : Math.floor(rank / numRanksPerNode));
  const isOn = (id: number, rank: number): boolean => id >= 0 && id < numExperts && rankOf[id] === rank;

  const inboxes = range(numRanks).map((): Message[] => []);
  const betweenNodes = range(numNodes * numNodes).map(() => 0);
  for (const [source, rows] of rowsOfRanks.entries()) {
    for (const [token, ids] of rows.entries()) {
      const destinations = range(numRanks).filter((rank) => ids.some((id) => isOn(id, rank)));
      for (const rank of destinations) inboxes[rank].push({ source, token, ids });
      for (const node of new Set(destinations.map(nodeOf))) betweenNodes[nodeOf(source) * numNodes + node] += 1;
    }
  }

  const received = inboxes.map((messages, rank): ExpectedReceived => {
    const local = range(numExperts).filter((expert) => rankOf[expert] === rank);
    const fromSource = range(numRanks).map((source) => messages.filter((message) => message.source === source));
    const selections = (of: readonly Message[], expert: number): number =>
      of.reduce((sum, { ids }) => sum + ids.filter((id) => id === expert).length, 0);
    const counts = local.map((expert) => selections(messages, expert));
    const offsets = sumsOf(counts.map((count) => Math.ceil(count / alignment) * alignment));
    return {
      numLocalExperts: local.length,
      numTokens: messages.length,
      numTokensPerSourceRank: fromSource.map((of) => of.length),
      sourceRankOffsets: sumsOf(fromSource.map((of) => of.length)),
      numTokensPerExpert: counts,
      expertOffsets: offsets,
      numRows: offsets.at(-1) as number,
      numTokensPerSourceRankAndExpert: fromSource.flatMap((of) => local.map((expert) => selections(of, expert))),
      sourceRankOfRow: messages.map(({ source }) => source),
      sourceTokenOfRow: messages.map(({ token }) => token),
      topkIdx: messages.map(({ ids }) => ids.map((id) => local.indexOf(id))),
    };
  });
  const betweenRanks = range(numRanks).flatMap((source) =>
    received.map(({ numTokensPerSourceRank }) => numTokensPerSourceRank[source]),
  );
  return { received, numTokensBetweenRanks: betweenRanks, numTokensBetweenNodes: betweenNodes };
}
