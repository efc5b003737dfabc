/**
 * The tasks of `getExpertPermutation` and `getRankPermutation`.
 *
 * @module
 */
import { orderModule } from '#platform';
import { orderByExpert } from './devices/js/order-by-expert.ts';
import { orderByRank } from './devices/js/order-by-rank.ts';
import { orderRows } from './devices/wasm/order-rows.ts';
import { checkRows, type ExpertOrderOptions, expertOrderForm } from './layout/expert-permutation.ts';
import type { ExpertOrder } from './layout/outputs.ts';
import { type RankOrderOptions, rankOrderForm } from './layout/rank-permutation.ts';
import { readExpertOrder, readRankOrder } from './order-options.ts';
import type { Task } from './task.ts';

/** The task of `getExpertPermutation`. */
export const expertTask: Task = {
  form: expertOrderForm,
  onCpu: { js: orderByExpert, wasm: (request) => orderRows(request, orderModule) },
  hasRanks: false,
  read: (options, numExperts, last) =>
    readExpertOrder(options as ExpertOrderOptions, numExperts, last as ExpertOrder | undefined),
  checkSize: (numSelections, computation) => checkRows(numSelections, computation as ExpertOrder),
};

/** The task of `getRankPermutation`. */
export const rankTask: Task = {
  form: rankOrderForm,
  onCpu: { js: orderByRank, wasm: (request) => orderRows(request, orderModule) },
  hasRanks: true,
  read: (options) => readRankOrder(options as RankOrderOptions),
};
