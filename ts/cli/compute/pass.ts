/**
 * One pass over the chosen layers of routing: each piece is read straight into a workspace and computed there, and
 * nothing of it is kept. Memory is bounded by the size of a piece, whatever the size of the file is.
 *
 * @module
 */
import { failOnLibraryError, withMemory } from '../fail.ts';
import {
  counted,
  type ExpertGroup,
  type IdType,
  idTypes,
  type LayoutOptions,
  type MaskForm,
  type Workspace,
  type WorkspaceOrders,
} from '../library.ts';
import { startProgress } from '../progress.ts';
import type { ChosenRouting } from '../read/routing.ts';

/** A workspace for the ids of a file, whose type only the file knows. */
export type RoutingWorkspace = Workspace<IdType, MaskForm>;

/** What a workspace is made for. */
export interface WorkspaceJob {
  readonly routing: ChosenRouting;
  readonly group: InstanceType<typeof ExpertGroup>;
  readonly numExperts: number;
  readonly options: Pick<LayoutOptions<MaskForm>, 'invalidExperts' | 'emptyId' | 'mask'>;
  /** The orders that it computes, too. */
  readonly orders: WorkspaceOrders;
}

/** How often the process attends to something else than the pass. */
const turnMs = 100;
/** The most bytes of ids in one piece. Larger pieces are not faster: docs/notes/reading-files.md. */
const maxIdBytes = 2 ** 21;
/** The most bytes of the mask of one piece, of which each rank has one for each token. */
const maxMaskBytes = 2 ** 24;

/** Makes a workspace for the pieces of routing. */
export function createWorkspace({ routing, group, numExperts, options, orders }: WorkspaceJob): RoutingWorkspace {
  const { idType, topk, tokens } = routing.routing;
  const fitting = Math.min(maxIdBytes / (idTypes[idType].bytes * topk), maxMaskBytes / group.numRanks);
  const maxTokens = Math.min(tokens, Math.max(1, Math.floor(fitting)));
  return withMemory(`a workspace of ${counted(maxTokens, 'token')}`, 'give the process more memory', () =>
    group.createWorkspace<IdType, MaskForm>({ numExperts, maxTokens, numTopk: topk, idType, ...options, ...orders }),
  );
}

/** Which part of the routing a result is of. */
export interface ComputedPiece {
  /** The index of the layer among the chosen ones. */
  readonly layer: number;
  /** The token of the first row, counted in its layer. */
  readonly firstToken: number;
  readonly numTokens: number;
  /** The index of its file; null for rows of -1 that no file has. */
  readonly file: number | null;
}

/** What a pass does. */
export interface Pass<Computed> {
  readonly routing: ChosenRouting;
  readonly workspace: RoutingWorkspace;
  readonly numExperts: number;
  /** Computes the first tokens in the workspace, which are this piece. */
  readonly compute: (numTokens: number, piece: ComputedPiece) => Computed;
  /** Receives what was computed of each piece. The next piece overwrites it. */
  readonly receive: (computed: Computed, piece: ComputedPiece) => void;
}

/**
 * Reads and computes every piece of the chosen layers.
 *
 * @returns the seconds that computing took, without reading and receiving.
 */
export async function runPass<Computed>(pass: Pass<Computed>): Promise<number> {
  const { workspace, numExperts, compute, receive } = pass;
  const { routing, chosen, layers, name } = pass.routing;
  const indexOf = new Map(chosen.map((layer, index) => [layer, index]));
  const progress = startProgress('computing', routing.tokens * chosen.length, 'tokens');
  let milliseconds = 0;
  let numDone = 0;
  let lastTurn = performance.now();
  try {
    for await (const piece of routing.pieces({ layers: chosen, into: workspace.topkIdx })) {
      const { firstToken, numTokens, file } = piece;
      const computedPiece = { layer: indexOf.get(piece.layer) as number, firstToken, numTokens, file };
      const start = performance.now();
      let computed: Computed;
      try {
        computed = compute(numTokens, computedPiece);
      } catch (error) {
        const where = layers === null ? name : `${name}, layer ${layers[computedPiece.layer]}`;
        return failOnLibraryError(where, numExperts, error, firstToken);
      }
      milliseconds += performance.now() - start;
      receive(computed, computedPiece);
      numDone += numTokens;
      progress.update(numDone);
      // Signals, such as that of Ctrl-C, are received between two pieces, also where reading does not wait for anything.
      if (performance.now() - lastTurn > turnMs) {
        await new Promise(setImmediate);
        lastTurn = performance.now();
      }
    }
  } finally {
    progress.stop();
  }
  return milliseconds / 1000;
}

/** The time of one pass, without reading the file and without reporting. */
export interface Timing {
  readonly seconds: number;
  /** How many passes `seconds` is the median of. The first pass is one of them only if it is the only one. */
  readonly numPasses: number;
  /** Whether there was a pass before those that were measured. */
  readonly warm: boolean;
}

/** For how long passes are repeated: long enough for a steady median, and too short for the user to notice. */
const timingBudgetMs = 150;
const maxPasses = 101;

/**
 * Runs a pass, and measures how long its computing takes. The first pass also warms up; if it was short, passes follow of
 * which nothing is received, and the time is their median.
 */
export async function timePasses<Computed>(pass: Pass<Computed>): Promise<Timing> {
  const start = performance.now();
  const seconds = await runPass(pass);
  if (performance.now() - start > timingBudgetMs) return { seconds, numPasses: 1, warm: false };
  const times: number[] = [];
  const repeatUntil = performance.now() + timingBudgetMs;
  do times.push(await runPass({ ...pass, receive() {} }));
  while (times.length < maxPasses && performance.now() < repeatUntil);
  times.sort((left, right) => left - right);
  return { seconds: times[times.length >> 1], numPasses: times.length, warm: true };
}
