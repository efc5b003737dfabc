/**
 * The form of TensorRT-LLM's load balancer: YAML with `num_slots`, `initial_global_assignments` by the number of the
 * layer, and `layer_updates_per_iter`. It may be the `moe_config.load_balancer` of a larger file of options.
 *
 * @module
 */
import { Document, visit } from 'yaml';
import { describe } from '../../values/describe.ts';
import { createPlan, wrongPlan } from '../plan.ts';
import { isRecord, numbersAt } from './arrays.ts';
import { checkFull, countAt, type PlanFormat, ranksOf } from './format.ts';

export const tensorrtLlm: PlanFormat = {
  matches: (content) => balancerIn(content) !== undefined,

  read(content, options) {
    const balancer = balancerIn(content) ?? {};
    const numSlots = countAt('num_slots', balancer.num_slots);
    const assignments = balancer.initial_global_assignments;
    if (!isRecord(assignments)) {
      throw wrongPlan(
        `initial_global_assignments is ${describe(assignments)}`,
        assignments,
        'Without it, the file says nothing of where experts are: TensorRT-LLM then begins with a default of its own.',
      );
    }
    const layerIds = Object.keys(assignments).map((key) => {
      if (/^\d+$/.test(key)) return Number(key);
      throw wrongPlan(`the layer ${describe(key)} is no number`, key, 'Layers are named by their numbers.');
    });
    const rows = layerIds.map((id) => {
      const row = numbersAt(`initial_global_assignments, layer ${id}`, assignments[id]);
      if (row.length === numSlots) return row;
      const problem = `layer ${id} has ${row.length} slots, but num_slots is ${numSlots}`;
      throw wrongPlan(problem, row.length, 'Give the expert in each slot.');
    });
    return createPlan(rows, { numRanks: ranksOf(options), numExperts: options.numExperts, layerIds });
  },

  write(plan) {
    checkFull(plan, 'TensorRT-LLM');
    const assignments = new Map(plan.physicalToLogical.map((slots, layer) => [plan.layerIds[layer], [...slots]]));
    const document = new Document({
      initial_global_assignments: assignments,
      layer_updates_per_iter: 0,
      num_slots: plan.numPhysicalExperts,
    });
    visit(document, {
      Seq(_, slots) {
        slots.flow = true;
      },
    });
    return document.toString({ lineWidth: 0, flowCollectionPadding: false });
  },
};

/** The object with `num_slots`: the content itself, or a part of it. */
function balancerIn(content: unknown): Readonly<Record<string, unknown>> | undefined {
  if (!isRecord(content)) return undefined;
  const { moe_config: moe, load_balancer: balancer = isRecord(moe) ? moe.load_balancer : undefined } = content;
  return [content, balancer].filter(isRecord).find((part) => 'num_slots' in part);
}
