/**
 * `dispatch-layout permute`: reads routing, computes an order of its rows, writes the order to a file if one is named,
 * and reports it.
 *
 * @module
 */
import { computeRoutingOrder } from './compute/order.ts';
import type { ExpertGroupOptions } from './library.ts';
import { type PermuteFlags, readOrder } from './order-flags.ts';
import { checkPaths } from './read/check-paths.ts';
import type { ChosenPlacement } from './read/placement.ts';
import { type ChosenPlan, layersInPlan, readPlacementOrPlan } from './read/plan.ts';
import { readReplicaChoice, refuseReplicaFlags } from './read/replica-choice.ts';
import { openChosenRouting } from './read/routing.ts';
import { reasonOfChosenDevice } from './report/device-reason.ts';
import { formatOrderJson } from './report/order-json.ts';
import type { OrderResult } from './report/order-result.ts';
import { perLayer, total } from './report/order-statistics.ts';
import { formatOrderText } from './report/order-text.ts';
import { findInPlan } from './report/plan-findings.ts';
import { printReport } from './report/print-report.ts';
import { requireFiles, requireNumExperts, requireNumRanks } from './shared-flags.ts';

/** @param files the routing files, of which one can be `-` for standard input. */
export async function permute(files: readonly string[], flags: PermuteFlags): Promise<void> {
  const paths = requireFiles(files);
  const numExperts = requireNumExperts(flags);
  const order = readOrder(flags, numExperts);
  const numRanks = order.kind === 'byRank' ? requireNumRanks(flags) : null;
  const { device, invalidExperts, emptyId, out } = flags;
  checkPaths(paths, flags);

  const routing = await openChosenRouting(paths, flags);
  const placement = numRanks === null ? null : await readPlacementOrPlan(flags.placement, numExperts, numRanks);
  if (placement === null || !('plan' in placement)) refuseReplicaFlags(flags);
  const planned =
    placement !== null && 'plan' in placement
      ? {
          plan: placement.plan,
          planLayers: layersInPlan(placement, routing),
          replicas: readReplicaChoice(flags, routing),
        }
      : null;
  const computed = await computeRoutingOrder({
    routing,
    numExperts,
    order,
    groupOptions: { ...ranksOf(numRanks, placement), device },
    planned,
    invalidExperts,
    emptyId,
    out,
  });

  const result: OrderResult = {
    computed,
    invalidExperts,
    placement,
    deviceReason: reasonOfChosenDevice(device),
    total: total(computed),
    perLayer: perLayer(computed),
    planFindings: planned === null ? null : await findInPlan(planned.plan),
  };
  await printReport(result, flags, formatOrderText, formatOrderJson);
}

/** The ranks of the group. To an order by expert, ranks do not matter, and to no order do nodes. */
function ranksOf(numRanks: number | null, placement: ChosenPlacement | ChosenPlan | null): ExpertGroupOptions {
  if (numRanks === null) return { numRanks: 1 };
  const option = placement !== null && 'option' in placement ? placement.option : undefined;
  return { numRanks, numRanksPerNode: numRanks, placement: option };
}
