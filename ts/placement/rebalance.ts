/**
 * EPLB, the expert-parallelism load balancer of DeepSeek (deepseek-ai/EPLB, commit d52c72d).
 *
 * @module
 */
import { wrongValue } from '../errors/checks.ts';
import { describe } from '../values/describe.ts';
import { packBalanced } from './balanced-packing.ts';
import { checkList, checkRanks, type PlacementPlan, wrongPlan } from './plan.ts';
import { replicate } from './replicate.ts';
import { sumFloat32 } from './sum-float32.ts';

/** Options of {@link rebalance}. */
export interface RebalanceOptions {
  /** The number of experts with their replicas: at least the number of experts, and a multiple of `numRanks`. */
  readonly numPhysicalExperts: number;
  /**
   * The number of groups of experts. If it is a multiple of `numNodes`, all experts of a group are in one node, and so
   * are their replicas. Default 1.
   */
  readonly numGroups?: number | undefined;
  /** The number of nodes. Default 1. */
  readonly numNodes?: number | undefined;
  /** The number of ranks. */
  readonly numRanks: number;
}

/**
 * Replicates the experts with the largest loads, and spreads all replicas over the ranks so that the loads of the ranks
 * are about equal. It is EPLB: the plan is equal, bit for bit, to what `rebalance_experts` computes with a stable sort.
 * EPLB itself leaves the order of equal loads to `torch.sort`, which is not stable; here, the lower index comes first.
 *
 * A plan is always good for the loads that it was made from. To see what it is worth, make it from the first half of a
 * trace, and judge it by the second half.
 *
 * ```ts
 * import { rebalance } from 'dispatch-layout/placement';
 *
 * const loads = [[90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86]];
 * const plan = rebalance(loads, { numPhysicalExperts: 16, numGroups: 4, numNodes: 2, numRanks: 8 });
 * console.log(plan.physicalToLogical[0].join(' ')); // 5 6 5 7 8 4 3 4 10 9 10 2 0 1 11 1
 * console.log(plan.logicalToPhysical[0][1].join(' ')); // 15 13
 * ```
 *
 * @param loads `[numLayers]` of `[numExperts]`: how often each expert was selected, such as `numTokensPerExpert`. They
 *   are rounded to 32-bit floating-point numbers, as in EPLB.
 * @throws DispatchLayoutError `PLACEMENT` if a load is negative or not finite, or layers differ in their number
 *   of experts; `NUM_RANKS`; `OPTION` if the numbers do not fit together: those of EPLB's assertions.
 */
export function rebalance(loads: readonly ArrayLike<number>[], options: RebalanceOptions): PlacementPlan {
  const { numPhysicalExperts, numGroups = 1, numNodes = 1, numRanks } = Object(options) as RebalanceOptions;
  const weights = readLoads(loads, Float32Array);
  const numExperts = weights.length === 0 ? 0 : weights[0].length;
  checkRanks(numRanks);
  checkPositive('numNodes', numNodes);
  checkPositive('numGroups', numGroups);
  checkPositive('numPhysicalExperts', numPhysicalExperts);
  checkMultiple('numPhysicalExperts', numPhysicalExperts, 'numRanks', numRanks);
  if (numPhysicalExperts < numExperts) {
    const remedy = `There are ${numExperts} experts, and each needs a slot.`;
    throw wrongValue('OPTION', 'numPhysicalExperts', numPhysicalExperts, remedy);
  }
  const isHierarchical = numGroups % numNodes === 0;
  if (isHierarchical) {
    checkMultiple('the number of experts', numExperts, 'numGroups', numGroups);
    checkMultiple('numRanks', numRanks, 'numNodes', numNodes);
  }
  const nodes = isHierarchical ? numNodes : 1;
  const layers = weights.map((layer) =>
    rebalanceLayer(layer, numPhysicalExperts, isHierarchical ? numGroups : 1, nodes, numRanks),
  );
  return {
    numLayers: layers.length,
    numExperts,
    numPhysicalExperts,
    numRanks,
    layerIds: layers.map((_, layer) => layer),
    physicalToLogical: layers.map((layer) => layer.physicalToLogical),
    logicalToPhysical: layers.map((layer) => layer.logicalToPhysical),
    replicaCount: layers.map((layer) => layer.replicaCount),
  };
}

interface BalancedLayer {
  readonly physicalToLogical: Int32Array;
  readonly logicalToPhysical: readonly Int32Array[];
  readonly replicaCount: Int32Array;
}

/** Packs groups into nodes, replicates experts within each node, and packs the replicas of each node into its ranks. */
function rebalanceLayer(
  loads: Float32Array,
  numPhysicalExperts: number,
  numGroups: number,
  numNodes: number,
  numRanks: number,
): BalancedLayer {
  const expertsOfNodes = packGroups(loads, numGroups, numNodes);
  const physicalToLogical = new Int32Array(numPhysicalExperts);
  const logicalToPhysical = new Array<Int32Array>(loads.length);
  const replicaCount = new Int32Array(loads.length);
  const slotsPerNode = numPhysicalExperts / numNodes;
  const slotsPerRank = numPhysicalExperts / numRanks;
  const ownLoads = new Float32Array(loads.length / numNodes);
  const shares = new Float32Array(slotsPerNode);
  for (let node = 0; node < numNodes; node++) {
    const experts = expertsOfNodes[node];
    for (let own = 0; own < experts.length; own++) ownLoads[own] = loads[experts[own]];
    const { expertOf, numberOf, counts } = replicate(ownLoads, slotsPerNode);
    for (let own = 0; own < experts.length; own++) {
      replicaCount[experts[own]] = counts[own];
      logicalToPhysical[experts[own]] = new Int32Array(counts[own]);
    }
    for (let replica = 0; replica < slotsPerNode; replica++) {
      shares[replica] = ownLoads[expertOf[replica]] / counts[expertOf[replica]];
    }
    const { packOf, placeOf } = packBalanced(shares, numRanks / numNodes);
    for (let replica = 0; replica < slotsPerNode; replica++) {
      const expert = experts[expertOf[replica]];
      const slot = node * slotsPerNode + packOf[replica] * slotsPerRank + placeOf[replica];
      physicalToLogical[slot] = expert;
      logicalToPhysical[expert][numberOf[replica]] = slot;
    }
  }
  return { physicalToLogical, logicalToPhysical, replicaCount };
}

/** The experts of each node, after the groups of experts were packed into nodes. */
function packGroups(loads: Float32Array, numGroups: number, numNodes: number): Int32Array[] {
  const groupSize = loads.length / numGroups;
  const groupLoads = Float32Array.from({ length: numGroups }, (_, group) =>
    sumFloat32(loads, group * groupSize, (group + 1) * groupSize),
  );
  const { packOf, placeOf } = packBalanced(groupLoads, numNodes);
  const expertsOfNodes = Array.from({ length: numNodes }, () => new Int32Array(loads.length / numNodes));
  for (let expert = 0; expert < loads.length; expert++) {
    const group = Math.floor(expert / groupSize);
    expertsOfNodes[packOf[group]][placeOf[group] * groupSize + (expert % groupSize)] = expert;
  }
  return expertsOfNodes;
}

/**
 * Reads the loads of each layer into arrays of the given class.
 *
 * @throws DispatchLayoutError `PLACEMENT`
 */
export function readLoads<Loads extends Float32Array | Float64Array>(
  loads: readonly ArrayLike<number>[],
  array: new (length: number) => Loads,
): Loads[] {
  const layers = Array.from(checkList('loads', loads), (row, layer) => {
    checkList(`loads[${layer}]`, row);
    const weights = new array(row.length);
    for (let expert = 0; expert < weights.length; expert++) {
      const load: unknown = row[expert];
      if (!Number.isFinite(load) || (load as number) < 0) {
        const remedy = 'A load is a finite number, 0 or more: how often the expert was selected.';
        throw wrongPlan(`loads[${layer}][${expert}] is ${describe(load)}`, load, remedy);
      }
      weights[expert] = load as number;
    }
    return weights;
  });
  for (const [layer, row] of layers.entries()) {
    if (row.length === layers[0].length) continue;
    const problem = `loads[${layer}] has ${row.length} experts, but loads[0] has ${layers[0].length}`;
    throw wrongPlan(problem, row.length, 'Give every layer the loads of all its experts.');
  }
  return layers;
}

function checkPositive(name: string, count: unknown): void {
  if (Number.isInteger(count) && (count as number) > 0) return;
  throw wrongValue('OPTION', name, count, 'It must be a positive integer.');
}

function checkMultiple(name: string, count: number, divisorName: string, divisor: number): void {
  if (count % divisor === 0) return;
  throw wrongValue('OPTION', name, count, `It must be a multiple of ${divisorName}, ${divisor}.`);
}
