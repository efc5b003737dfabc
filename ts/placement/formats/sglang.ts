/**
 * The form of SGLang's `--init-expert-location`: `{"physical_to_logical_map": [[…], …]}`, a row for each layer.
 *
 * @module
 */
import { createPlan, wrongPlan } from '../plan.ts';
import { isRecord, rowsAt } from './arrays.ts';
import { checkFull, checkLayersInOrder, formatJson, type PlanFormat, ranksOf } from './format.ts';

export const sglang: PlanFormat = {
  matches: (content) => isRecord(content) && ('physical_to_logical_map' in content || 'logical_count' in content),

  read(content, options) {
    const { physical_to_logical_map: map } = content as Readonly<Record<string, unknown>>;
    if (map === undefined) {
      throw wrongPlan(
        'the file has no physical_to_logical_map',
        content,
        'If it has a logical_count, it has loads and no plan: make one from them by rebalance.',
      );
    }
    return createPlan(rowsAt('physical_to_logical_map', map), {
      numRanks: ranksOf(options),
      numExperts: options.numExperts,
    });
  },

  write(plan) {
    checkFull(plan, 'SGLang');
    checkLayersInOrder(plan, 'SGLang');
    return formatJson({ physical_to_logical_map: plan.physicalToLogical.map((slots) => [...slots]) });
  },
};
