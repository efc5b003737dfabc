/**
 * Computes the dispatch of a whole group, whose ranks have a file each.
 *
 * @module
 */
import { fail, failOnLibraryError, withMemory } from '../fail.ts';
import type { InvalidExperts } from '../flags.ts';
import {
  DispatchLayoutError,
  ExpertGroup,
  type ExpertGroupOptions,
  type IntegerArray,
  idTypes,
  loadPlacement,
  type ReplicaRule,
  type SimulatedDispatch,
  simulateDispatch,
} from '../library.ts';
import { startProgress } from '../progress.ts';
import type { ChosenRouting } from '../read/routing.ts';
import { sum } from '../report/counts.ts';
import { createDispatchFile } from '../write/dispatch-file.ts';
import type { DispatchCounts, RoutingDispatch } from './dispatch-counts.ts';
import type { FittedPlan } from './judge.ts';

/** What is to be computed, and how. */
export interface DispatchJob {
  /** The routing of each rank. */
  readonly ranks: readonly ChosenRouting[];
  readonly numExperts: number;
  readonly groupOptions: Omit<ExpertGroupOptions, 'numRanks'>;
  /** Where the experts are, if it is not the placement of the group. */
  readonly planned: PlannedDispatch | null;
  readonly alignment: number;
  readonly invalidExperts: InvalidExperts;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId: number | bigint | undefined;
  /** The file to write the dispatch to. */
  readonly out: string | undefined;
}

/** A placement by a plan. Each rank maps its own tokens to the replicas that they take. */
export interface PlannedDispatch extends FittedPlan {
  readonly rule: ReplicaRule;
}

/** The ids of one layer of one rank, as the library takes them. */
interface LayerIds {
  readonly data: IntegerArray;
  readonly shape: readonly [number, number];
}

/** Computes the dispatch of every chosen layer, and writes it to a file if one is named. */
export async function computeDispatch(job: DispatchJob): Promise<RoutingDispatch> {
  const { ranks, numExperts, groupOptions, planned, out, ...options } = job;
  checkSameLayers(ranks);
  const numLayers = ranks[0].chosen.length;
  try {
    const group = new ExpertGroup({ ...groupOptions, numRanks: ranks.length });
    const ids: (readonly LayerIds[])[] = [];
    for (const [rank, file] of ranks.entries()) {
      const layers = await readLayers(file);
      ids.push(planned === null ? layers : await mapLayers(layers, planned, job, rank));
    }
    const numPhysicalExperts = planned?.plan.numPhysicalExperts ?? numExperts;
    // Of mapped ids, those that are no experts are empty slots
    const simulation = planned === null ? options : { alignment: options.alignment };
    const simulate = (layer: number): SimulatedDispatch => {
      try {
        const topkIdxOfRanks = ids.map((layers) => layers[layer]);
        return simulateDispatch(topkIdxOfRanks, numPhysicalExperts, { ...groupOptions, ...simulation });
      } catch (error) {
        return failNamingFile(ranks, layer, numExperts, error);
      }
    };
    const layers = await forEachLayer(numLayers, (layer) =>
      countsOf(simulate(layer), numExperts, expertOfSlot(planned, layer)),
    );
    const { numRanks, numRanksPerNode, numRdmaRanks, device } = group;
    const numTopk = ranks[0].routing.topk;
    const shape = { numRanks, numRanksPerNode, numRdmaRanks, numExperts, numPhysicalExperts, numTopk };
    const dispatch = { ...shape, ranks, device, alignment: options.alignment, layers };
    if (out !== undefined) await writeFile(out, dispatch, simulate);
    return dispatch;
  } catch (error) {
    return failOnLibraryError('the files', numExperts, error);
  }
}

async function forEachLayer<Result>(numLayers: number, compute: (layer: number) => Result): Promise<Result[]> {
  const progress = startProgress('computing', numLayers, 'layers');
  try {
    const results: Result[] = [];
    for (let layer = 0; layer < numLayers; layer++) {
      results.push(compute(layer));
      progress.update(layer + 1);
      // Signals, such as that of Ctrl-C, are received between two layers
      await new Promise(setImmediate);
    }
    return results;
  } finally {
    progress.stop();
  }
}

async function writeFile(
  out: string,
  dispatch: RoutingDispatch,
  simulate: (layer: number) => SimulatedDispatch,
): Promise<void> {
  const file = createDispatchFile(out, dispatch);
  try {
    await forEachLayer(dispatch.layers.length, (layer) => file.writeLayer(layer, simulate(layer)));
    file.finish();
  } finally {
    file.discard();
  }
}

/** Refuses files that do not have the same layers. The library compares their numbers of slots. */
function checkSameLayers(ranks: readonly ChosenRouting[]): void {
  const [first] = ranks;
  const described = ({ layers }: ChosenRouting): string =>
    layers === null ? 'no axis of layers' : `layers ${layers.join(', ')}`;
  for (const rank of ranks) {
    if (described(rank) === described(first)) continue;
    fail(`${rank.name} has ${described(rank)}, and ${first.name} has ${described(first)}; give one file for each rank`);
  }
}

/** Reads the ids of all chosen layers of a rank. */
async function readLayers({ routing, chosen, name }: ChosenRouting): Promise<readonly LayerIds[]> {
  const { tokens, topk, idType } = routing;
  const layers = withMemory(`the ids of ${name}`, 'take one --layer at a time', () =>
    chosen.map((): LayerIds => ({ data: new idTypes[idType].array(tokens * topk), shape: [tokens, topk] })),
  );
  const indexOf = new Map(chosen.map((layer, index) => [layer, index]));
  for await (const { layer, firstToken, ids } of routing.pieces({ layers: chosen })) {
    const { data } = layers[indexOf.get(layer) as number];
    (data as Int32Array).set(ids as Int32Array, firstToken * topk);
  }
  return layers;
}

/** Maps the ids of all chosen layers of a rank to slots. */
async function mapLayers(
  layers: readonly LayerIds[],
  { plan, planLayers, rule }: PlannedDispatch,
  { ranks, numExperts, groupOptions, invalidExperts, emptyId }: DispatchJob,
  rank: number,
): Promise<readonly LayerIds[]> {
  const { mapToPhysical } = await loadPlacement();
  const { numRanksPerNode } = groupOptions;
  const { name, layers: numbers } = ranks[rank];
  return layers.map((ids, layer) => {
    try {
      const options = { sourceRank: rank, numRanksPerNode, invalidExperts, emptyId };
      return mapToPhysical(ids, plan, planLayers[layer], rule, options);
    } catch (error) {
      return failOnLibraryError(numbers === null ? name : `${name}, layer ${numbers[layer]}`, numExperts, error);
    }
  });
}

/** The expert in each slot, or `null` where experts are not in slots. */
function expertOfSlot(planned: PlannedDispatch | null, layer: number): Int32Array | null {
  return planned === null ? null : planned.plan.physicalToLogical[planned.planLayers[layer]];
}

/**
 * Computes every rank of a dispatch once.
 *
 * @param expertOf the expert in each slot, if the dispatch is one of slots.
 */
function countsOf(
  { ranks, numTokensBetweenRanks, numTokensBetweenNodes }: SimulatedDispatch,
  numExperts: number,
  expertOf: Int32Array | null,
): DispatchCounts {
  const numTokensPerExpert = new Float64Array(numExperts);
  const numSelectionsPerRank = new Float64Array(ranks.length);
  const numRowsPerRank = new Float64Array(ranks.length);
  for (const [rank, { layout, received }] of ranks.entries()) {
    for (const [slot, count] of layout.numTokensPerExpert.entries()) {
      const expert = expertOf === null ? slot : expertOf[slot];
      if (expert >= 0) numTokensPerExpert[expert] += count;
    }
    numSelectionsPerRank[rank] = sum(received.numTokensPerExpert);
    numRowsPerRank[rank] = received.numRows;
  }
  return {
    numTokensBetweenRanks: Float64Array.from(numTokensBetweenRanks),
    numTokensBetweenNodes: Float64Array.from(numTokensBetweenNodes),
    numTokensPerExpert,
    numSelectionsPerRank,
    numRowsPerRank,
  };
}

/** Rethrows an error of the library with the name of the rank's file, if it is one of ids. */
function failNamingFile(ranks: readonly ChosenRouting[], layer: number, numExperts: number, error: unknown): never {
  const rank = error instanceof DispatchLayoutError ? /^rank (\d+): /.exec(error.message)?.[1] : undefined;
  const { name, layers } = ranks[Number(rank ?? 0)];
  return failOnLibraryError(layers === null ? name : `${name}, layer ${layers[layer]}`, numExperts, error);
}
