/**
 * What is odd about a plan, though it can be computed with.
 *
 * @module
 */
import { type PlacementPlan, rankOfSlot } from './plan.ts';

/** What can be odd about a plan. */
export type PlanFindingKind =
  /** Two replicas of an expert are on one rank, so that one of them is of no use. */
  | 'replicas-share-rank'
  /** An expert has no replica: what selects it goes nowhere. */
  | 'missing-expert'
  /** A slot holds no expert (-1). */
  | 'empty-slot';

/** Something odd about a plan. */
export interface PlanFinding {
  /** What it is. */
  readonly kind: PlanFindingKind;
  /** The number of the layer in its model. */
  readonly layerId: number;
  /** The rank; null for a missing expert. */
  readonly rank: number | null;
  /** The expert; null for an empty slot. */
  readonly expert: number | null;
  /** The slot (physical expert); null for a missing expert. Of two replicas, the later one. */
  readonly slot: number | null;
  /** The finding as a sentence that names all of these. */
  readonly message: string;
}

/**
 * Finds replicas of an expert that share a rank, experts without a replica, and empty slots. EPLB itself makes plans
 * with replicas that share a rank.
 *
 * ```ts
 * import { createPlan, findingsOf } from 'dispatch-layout/placement';
 *
 * const plan = createPlan([[0, 0, 1, 3]], { numRanks: 2 });
 * console.log(findingsOf(plan)[0].message); // layer 0, rank 0: expert 0 has another replica there, in slot 1
 * ```
 */
export function findingsOf(plan: PlacementPlan): PlanFinding[] {
  return plan.physicalToLogical.flatMap((slots, layer) => [
    ...slotFindings(plan, slots, plan.layerIds[layer]),
    ...missingExperts(plan.replicaCount[layer], plan.layerIds[layer]),
  ]);
}

function slotFindings(plan: PlacementPlan, slots: Int32Array, layerId: number): PlanFinding[] {
  const findings: PlanFinding[] = [];
  const lastRankOf = new Int32Array(plan.numExperts).fill(-1);
  for (const [slot, expert] of slots.entries()) {
    const rank = rankOfSlot(slot, plan);
    const place = `layer ${layerId}, rank ${rank}`;
    if (expert === -1) {
      const message = `${place}: slot ${slot} holds no expert (-1)`;
      findings.push({ kind: 'empty-slot', layerId, rank, expert: null, slot, message });
    } else if (lastRankOf[expert] === rank) {
      const message = `${place}: expert ${expert} has another replica there, in slot ${slot}`;
      findings.push({ kind: 'replicas-share-rank', layerId, rank, expert, slot, message });
    } else {
      lastRankOf[expert] = rank;
    }
  }
  return findings;
}

function missingExperts(replicaCount: Int32Array, layerId: number): PlanFinding[] {
  return [...replicaCount.entries()]
    .filter(([, count]) => count === 0)
    .map(([expert]) => {
      const message = `layer ${layerId}: expert ${expert} is on no rank`;
      return { kind: 'missing-expert', layerId, rank: null, expert, slot: null, message };
    });
}
