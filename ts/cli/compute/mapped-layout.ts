/**
 * Layouts of experts with replicas: ids are mapped to slots, and the layout of these is computed.
 *
 * @module
 */
import { ExpertGroup, type ExpertGroupOptions, type LayoutOptions, loadPlacement, type MaskForm } from '../library.ts';
import type { ReplicaChoice } from '../read/replica-choice.ts';
import type { ChosenRouting } from '../read/routing.ts';
import type { FittedPlan } from './judge.ts';
import { type ComputedPiece, createWorkspace, type RoutingWorkspace } from './pass.ts';

/** A placement by a plan, and how tokens choose among replicas. */
export interface PlannedPlacement extends FittedPlan {
  readonly replicas: ReplicaChoice;
}

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

/** What a layout is computed of. */
export interface MappedLayoutJob {
  readonly routing: ChosenRouting;
  readonly numExperts: number;
  readonly groupOptions: ExpertGroupOptions;
  readonly options: Pick<LayoutOptions<MaskForm>, 'invalidExperts' | 'emptyId' | 'mask'>;
  readonly planned: PlannedPlacement;
}

/** Experts are counted by the ids of the file, and ranks, nodes and the mask are those of the slots. */
export async function createMappedLayout({
  routing,
  numExperts,
  groupOptions,
  options,
  planned,
}: MappedLayoutJob): Promise<LayoutComputer> {
  const { mapToPhysical } = await loadPlacement();
  const { plan, planLayers, replicas } = planned;
  const { rule, sourceRank, numRanksPerNode } = replicas;
  const { invalidExperts, emptyId, mask } = options;
  const workspace = createWorkspace({
    routing,
    group: new ExpertGroup({ ...groupOptions, placement: 'linear' }),
    numExperts,
    options: { invalidExperts, emptyId, mask: 'none' },
    orders: {},
  });
  const { numTopk, maxTokens } = workspace;
  const slots = new ExpertGroup(groupOptions).createWorkspace({
    numExperts: plan.numPhysicalExperts,
    maxTokens,
    numTopk,
    idType: 'int32',
    mask,
  });
  const mapping = { invalidExperts, emptyId, sourceRank, numRanksPerNode, out: slots.topkIdx };
  return {
    workspace,
    compute(numTokens, { layer, firstToken }) {
      const { numTokensPerExpert } = workspace.run(numTokens);
      const ids = { data: workspace.topkIdx.subarray(0, numTokens * numTopk), shape: [numTokens, numTopk] };
      mapToPhysical(ids, plan, planLayers[layer], rule, { ...mapping, firstToken });
      const { numTokensPerRank, numTokensPerRdmaRank, isTokenInRank } = slots.run(numTokens);
      return { numTokensPerRank, numTokensPerRdmaRank, isTokenInRank, numTokensPerExpert };
    },
  };
}
