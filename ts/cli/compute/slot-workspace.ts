/**
 * The pieces of routing by a plan: the ids of experts are mapped to the slots that tokens take, from which everything else
 * is computed.
 *
 * @module
 */
import {
  ExpertGroup,
  type ExpertGroupOptions,
  type LayoutOptions,
  loadPlacement,
  type MaskForm,
  type WorkspaceOrders,
} from '../library.ts';
import type { ReplicaChoice } from '../read/replica-choice.ts';
import type { ChosenRouting } from '../read/routing.ts';
import type { FittedPlan } from './judge.ts';
import { type ComputedPiece, createWorkspace, type RoutingWorkspace } from './pass.ts';

/** A placement by a plan, and how tokens choose among replicas. */
export interface PlannedPlacement extends FittedPlan {
  readonly replicas: ReplicaChoice;
}

/** What a workspace of slots is made for. */
export interface SlotWorkspaceJob {
  readonly routing: ChosenRouting;
  readonly numExperts: number;
  readonly groupOptions: ExpertGroupOptions;
  readonly options: Pick<LayoutOptions<MaskForm>, 'invalidExperts' | 'emptyId' | 'mask'>;
  /** The orders that it computes, too. */
  readonly orders: WorkspaceOrders;
  readonly planned: PlannedPlacement;
}

/** Workspaces for ids of experts, and for ids of slots. */
export interface SlotWorkspace {
  /** The workspace that pieces are read into, which knows nothing of the ranks of the plan. */
  readonly workspace: RoutingWorkspace;
  /** The workspace of slots, of the same size. */
  readonly slots: RoutingWorkspace;
  /** Maps the ids of a piece to slots. */
  map(numTokens: number, piece: ComputedPiece): void;
}

/** Makes the workspaces. */
export async function createSlotWorkspace(job: SlotWorkspaceJob): Promise<SlotWorkspace> {
  const { routing, numExperts, groupOptions, options, orders, planned } = job;
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
    ...orders,
  });
  const mapping = { invalidExperts, emptyId, sourceRank, numRanksPerNode, out: slots.topkIdx };
  return {
    workspace,
    slots,
    map(numTokens, { layer, firstToken }) {
      const ids = { data: workspace.topkIdx.subarray(0, numTokens * numTopk), shape: [numTokens, numTopk] };
      mapToPhysical(ids, plan, planLayers[layer], rule, { ...mapping, firstToken });
    },
  };
}
