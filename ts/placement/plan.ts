/**
 * A plan: which expert is in each physical slot of each layer, and where the replicas of each expert are.
 *
 * @module
 */
import { checkCount, wrongValue } from '../errors/checks.ts';
import { DispatchLayoutError } from '../errors/errors.ts';
import { describe } from '../values/describe.ts';

/**
 * Where the experts of each layer are. A *physical expert* is a slot into which an expert is loaded. Each rank has
 * `numPhysicalExperts / numRanks` of them, in contiguous blocks, so that the layout of physical ids needs no
 * `placement`. An expert may have replicas in several slots.
 */
export interface PlacementPlan {
  /** The number of layers. */
  readonly numLayers: number;
  /** The number of (logical) experts of a layer. */
  readonly numExperts: number;
  /** The number of slots of a layer over all ranks, a multiple of `numRanks`. */
  readonly numPhysicalExperts: number;
  /** The number of ranks. */
  readonly numRanks: number;
  /** `[numLayers]`: the number of each layer in its model, as files name it. */
  readonly layerIds: readonly number[];
  /** `[numLayers]` of `[numPhysicalExperts]`: the expert in each slot, or -1 for a slot that is empty. */
  readonly physicalToLogical: readonly Int32Array[];
  /**
   * `[numLayers]` of `[numExperts]` of `[replicaCount]`: the slots of each expert, in the order in which replicas are
   * numbered. Experts that were lost have none.
   */
  readonly logicalToPhysical: readonly (readonly Int32Array[])[];
  /** `[numLayers]` of `[numExperts]`: the number of replicas of each expert. */
  readonly replicaCount: readonly Int32Array[];
}

/** What {@link createPlan} is told beside the slots. */
export interface PlanShape {
  /** The number of ranks. It must divide the number of slots. */
  readonly numRanks: number;
  /**
   * The number of experts. Default: one more than the largest expert in any slot; the loss of the last expert then goes
   * unnoticed.
   */
  readonly numExperts?: number | undefined;
  /** The number of each layer in its model. Default: 0, 1, 2, … */
  readonly layerIds?: readonly number[] | undefined;
  /**
   * `[numLayers]` of `[numExperts]`: the slots of each expert in the order of its replicas. Default: in ascending order.
   */
  readonly logicalToPhysical?: readonly (readonly ArrayLike<number>[])[] | undefined;
}

/** A larger number of slots in all layers must be a mistake. */
const maxSlots = 2 ** 26;

/**
 * Makes a plan from the expert in each slot.
 *
 * ```ts
 * import { createPlan } from 'dispatch-layout/placement';
 *
 * const plan = createPlan([[0, 1, 2, 3, 0, 2]], { numRanks: 3 });
 * console.log(plan.numExperts, plan.logicalToPhysical[0][2].join(' ')); // 4 2 5
 * ```
 *
 * @param physicalToLogical `[numLayers]` of `[numPhysicalExperts]`: the expert in each slot, -1 for an empty one. It is
 *   copied.
 * @throws DispatchLayoutError `NUM_RANKS`; `OPTION` if `layerIds` has not one number for each layer;
 *   `PLACEMENT` if layers differ in their number of slots, `numRanks` does not divide it, an entry is neither an expert
 *   nor -1, or `logicalToPhysical` contradicts the slots. The message names the layer, the slot and the rank.
 */
export function createPlan(physicalToLogical: readonly ArrayLike<number>[], shape: PlanShape): PlacementPlan {
  const { numRanks } = Object(shape) as PlanShape;
  checkRanks(numRanks);
  const numLayers = checkList('physicalToLogical', physicalToLogical).length;
  const layerIds = readLayerIds(shape.layerIds, numLayers);
  const numPhysicalExperts = numLayers === 0 ? 0 : checkList('physicalToLogical[0]', physicalToLogical[0]).length;
  if (numPhysicalExperts % numRanks !== 0) {
    throw wrongPlan(
      `${numPhysicalExperts} physical experts do not divide evenly among ${numRanks} ranks`,
      numPhysicalExperts,
      'Correct numRanks; slots that hold no expert are -1.',
    );
  }
  if (numLayers * numPhysicalExperts > maxSlots) {
    throw wrongPlan(`the plan has ${numLayers} x ${numPhysicalExperts} slots`, numPhysicalExperts, 'That is too many.');
  }
  const slots = physicalToLogical.map((row, layer) => {
    const place = `layer ${layerIds[layer]}`;
    if (checkList(place, row).length !== numPhysicalExperts) {
      throw wrongPlan(
        `${place} has ${row.length} physical experts, but layer ${layerIds[0]} has ${numPhysicalExperts}`,
        row.length,
        'Give every layer the same number of slots; slots that hold no expert are -1.',
      );
    }
    return readSlots(row, place, numPhysicalExperts / numRanks, shape.numExperts);
  });
  const numExperts = shape.numExperts ?? 1 + slots.reduce((most, row) => Math.max(most, largest(row)), -1);
  const replicaCount = slots.map((row) => countReplicas(row, numExperts));
  const ascending = slots.map((row, layer) => locateReplicas(row, replicaCount[layer]));
  const given = shape.logicalToPhysical;
  const logicalToPhysical = given === undefined ? ascending : readReplicas(given, ascending, layerIds);
  return {
    numLayers,
    numExperts,
    numPhysicalExperts,
    numRanks,
    layerIds,
    physicalToLogical: slots,
    logicalToPhysical,
    replicaCount,
  };
}

/** The rank that a physical expert is on. */
export function rankOfSlot(slot: number, { numPhysicalExperts, numRanks }: PlacementPlan): number {
  return Math.floor(slot / (numPhysicalExperts / numRanks));
}

/** @throws DispatchLayoutError `OPTION` if `layer` is not the index of a layer of the plan. */
export function checkLayer(plan: PlacementPlan, layer: unknown): void {
  if (Number.isInteger(layer) && (layer as number) >= 0 && (layer as number) < plan.numLayers) return;
  throw wrongValue('OPTION', 'layer', layer, `The plan has ${plan.numLayers} layers: pass an index from 0 on.`);
}

/** The error that says that something is no plan. */
export function wrongPlan(problem: string, value: unknown, remedy: string): DispatchLayoutError {
  return new DispatchLayoutError('PLACEMENT', problem, { value, remedy });
}

/** @throws DispatchLayoutError `NUM_RANKS` */
export function checkRanks(numRanks: unknown): void {
  if (Number.isInteger(numRanks) && (numRanks as number) > 0 && (numRanks as number) <= maxSlots) return;
  const remedy = 'It must be a positive integer: the number of ranks that share the experts.';
  throw wrongValue('NUM_RANKS', 'numRanks', numRanks, remedy);
}

/**
 * Checks that something has a length, and so can be read as a list.
 *
 * @throws DispatchLayoutError `PLACEMENT`
 */
export function checkList<List>(name: string, list: List): List & ArrayLike<unknown> {
  const { length } = Object(list) as ArrayLike<unknown>;
  if (typeof list !== 'object' || !Number.isInteger(length) || length < 0) {
    throw wrongPlan(`${name} is ${describe(list)}`, list, 'It must be an array.');
  }
  return list as List & ArrayLike<unknown>;
}

function readLayerIds(layerIds: readonly number[] | undefined, numLayers: number): readonly number[] {
  if (layerIds === undefined) return Array.from({ length: numLayers }, (_, layer) => layer);
  if (checkList('layerIds', layerIds).length !== numLayers) {
    throw wrongValue('OPTION', 'layerIds', layerIds, `It must have a number for each of ${numLayers} layers.`);
  }
  for (const id of layerIds) checkCount('an element of layerIds', id);
  return [...layerIds];
}

function readSlots(row: ArrayLike<unknown>, place: string, slotsPerRank: number, numExperts?: number): Int32Array {
  return Int32Array.from({ length: row.length }, (_, slot) => {
    const expert = row[slot];
    const isKnown = Number.isInteger(expert) && (expert as number) >= -1 && (expert as number) < maxSlots;
    if (isKnown && (numExperts === undefined || (expert as number) < numExperts)) return expert as number;
    const rank = Math.floor(slot / slotsPerRank);
    const range = numExperts === undefined ? 'an expert' : `an expert in [0, ${numExperts})`;
    throw wrongPlan(
      `${place}, physical expert ${slot} (rank ${rank}) is ${describe(expert)}, not ${range}`,
      expert,
      'Each slot has the id of a logical expert, or -1 if it is empty.',
    );
  });
}

function largest(row: Int32Array): number {
  return row.reduce((most, expert) => Math.max(most, expert), -1);
}

function countReplicas(row: Int32Array, numExperts: number): Int32Array {
  const counts = new Int32Array(numExperts);
  for (const expert of row) if (expert >= 0) counts[expert]++;
  return counts;
}

function locateReplicas(row: Int32Array, counts: Int32Array): Int32Array[] {
  const replicas = Array.from(counts, (count) => new Int32Array(count));
  const found = new Int32Array(counts.length);
  for (const [slot, expert] of row.entries()) if (expert >= 0) replicas[expert][found[expert]++] = slot;
  return replicas;
}

/** Reads the slots of each expert in the order of its replicas. They must be those that the slots themselves say. */
function readReplicas(
  given: readonly (readonly ArrayLike<number>[])[],
  ascending: readonly (readonly Int32Array[])[],
  layerIds: readonly number[],
): Int32Array[][] {
  return ascending.map((experts, layer) =>
    experts.map((slots, expert) => {
      const place = `layer ${layerIds[layer]}, the replicas of expert ${expert}`;
      const replicas = Array.from(checkList(place, checkList(place, checkList(place, given)[layer])[expert]));
      const sorted = [...replicas].sort((left, right) => left - right);
      if (sorted.length === slots.length && slots.every((slot, index) => slot === sorted[index])) {
        return Int32Array.from(replicas);
      }
      throw wrongPlan(
        `${place} are ${describe(replicas)}, but it is in the slots ${describe([...slots])}`,
        replicas,
        'The two directions of the table must agree.',
      );
    }),
  );
}
