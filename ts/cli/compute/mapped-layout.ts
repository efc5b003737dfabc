/**
 * Layouts of experts with replicas: ids are mapped to slots, and the layout of these is computed.
 *
 * @module
 */
import type { ComputedPiece, RoutingWorkspace } from './pass.ts';
import { createSlotWorkspace, type SlotWorkspaceJob } from './slot-workspace.ts';

/** Computes the layouts of pieces. */
export interface LayoutComputer {
  /** The workspace that pieces are read into. */
  readonly workspace: RoutingWorkspace;
  readonly compute: (numTokens: number, piece: ComputedPiece) => PieceLayout;
}

/** The layout of a piece. The next one overwrites it. */
export type PieceLayout = Pick<
  ReturnType<RoutingWorkspace['run']>,
  'numTokensPerRank' | 'numTokensPerRdmaRank' | 'numTokensPerExpert' | 'isTokenInRank'
>;

/** Experts are counted by the ids of the file, and ranks, nodes and the mask are those of the slots. */
export async function createMappedLayout(job: Omit<SlotWorkspaceJob, 'orders'>): Promise<LayoutComputer> {
  const { workspace, slots, map } = await createSlotWorkspace({ ...job, orders: {} });
  return {
    workspace,
    compute(numTokens, piece) {
      const { numTokensPerExpert } = workspace.run(numTokens);
      map(numTokens, piece);
      const { numTokensPerRank, numTokensPerRdmaRank, isTokenInRank } = slots.run(numTokens);
      return { numTokensPerRank, numTokensPerRdmaRank, isTokenInRank, numTokensPerExpert };
    },
  };
}
