/**
 * The tensors of EPLB: `phy2log` `[L, P]`, `log2phy` `[L, E, X]`, padded with -1, and `logcnt` `[L, E]`.
 *
 * @module
 */
import { createPlan, type PlacementPlan, wrongPlan } from '../plan.ts';
import { isRecord, rowsAt, type ShapedArray, tablesAt } from './arrays.ts';
import { checkFull, checkLayersInOrder, formatJson, type PlanFormat, ranksOf } from './format.ts';

/** An array of 32-bit integers with a shape, row-major. */
export interface Int32Tensor extends ShapedArray {
  /** The elements, row-major. */
  readonly data: Int32Array;
}

/** The tensors of EPLB, under its names. */
export interface EplbTensors {
  /** `[numLayers, numPhysicalExperts]`: the expert in each slot. */
  readonly phy2log: Int32Tensor;
  /** `[numLayers, numExperts, most replicas]`: the slots of each expert, padded with -1. */
  readonly log2phy: Int32Tensor;
  /** `[numLayers, numExperts]`: the number of replicas of each expert. */
  readonly logcnt: Int32Tensor;
}

/**
 * The tensors of EPLB, to be written to an `.npz`, for instance.
 *
 * ```ts
 * import { createPlan, toEplbTensors } from 'dispatch-layout/placement';
 *
 * const { log2phy } = toEplbTensors(createPlan([[0, 1, 2, 0]], { numRanks: 2 }));
 * console.log(log2phy.shape.join(' '), '|', log2phy.data.join(' ')); // 1 3 2 | 0 3 1 -1 2 -1
 * ```
 *
 * @throws DispatchLayoutError `PLACEMENT` if a slot is empty, or an expert has none, which EPLB cannot say.
 */
export function toEplbTensors(plan: PlacementPlan): EplbTensors {
  checkFull(plan, 'EPLB');
  checkLayersInOrder(plan, 'EPLB');
  const { numLayers, numExperts, numPhysicalExperts, physicalToLogical, logicalToPhysical, replicaCount } = plan;
  const most = replicaCount.reduce((max, counts) => counts.reduce((other, count) => Math.max(other, count), max), 0);
  const padded = logicalToPhysical.flatMap((experts) =>
    experts.flatMap((slots) => [...slots, ...new Array<number>(most - slots.length).fill(-1)]),
  );
  return {
    phy2log: { data: joined(physicalToLogical), shape: [numLayers, numPhysicalExperts] },
    log2phy: { data: Int32Array.from(padded), shape: [numLayers, numExperts, most] },
    logcnt: { data: joined(replicaCount), shape: [numLayers, numExperts] },
  };
}

export const eplb: PlanFormat = {
  matches: (content) => isRecord(content) && 'phy2log' in content,

  read(content, options) {
    const { phy2log, log2phy, logcnt } = content as Readonly<Record<string, unknown>>;
    const rows = rowsAt('phy2log', phy2log);
    const counts = logcnt === undefined ? undefined : rowsAt('logcnt', logcnt);
    const numExperts = options.numExperts ?? counts?.[0]?.length;
    const shape = { numRanks: ranksOf(options), numExperts };
    const plan = createPlan(rows, shape);
    const wrong = counts?.findIndex(
      (row, layer) =>
        row.length !== plan.numExperts || !plan.replicaCount[layer]?.every((count, expert) => count === row[expert]),
    );
    if (wrong !== undefined && wrong >= 0) {
      const problem = `logcnt of layer ${wrong} is not the number of slots that each expert has in phy2log`;
      throw wrongPlan(problem, counts?.[wrong], 'The tensors must be of the same plan.');
    }
    if (log2phy === undefined) return plan;
    const replicas = tablesAt('log2phy', log2phy).map((table) =>
      table.map((slots) => Array.from(slots).filter((slot) => slot !== -1)),
    );
    return createPlan(rows, { ...shape, logicalToPhysical: replicas });
  },

  write(plan) {
    const { phy2log, log2phy, logcnt } = toEplbTensors(plan);
    return formatJson({ phy2log: nested(phy2log), log2phy: nested(log2phy), logcnt: nested(logcnt) });
  },
};

function joined(rows: readonly Int32Array[]): Int32Array {
  return Int32Array.from(rows.flatMap((row) => [...row]));
}

function nested({ data, shape }: ShapedArray): unknown[] {
  const [length, ...inner] = shape;
  if (inner.length === 0) return Array.from(data);
  const size = inner.reduce((product, axis) => product * axis, 1);
  return Array.from({ length }, (_, index) =>
    nested({ data: Array.from(data).slice(index * size, (index + 1) * size), shape: inner }),
  );
}
