/**
 * The plan that the settings ask for.
 *
 * @module
 */

import { type Capture, hasTokens, keptBefore } from '../../ts/capture/capture.ts';
import type { Settings } from '../../ts/capture/settings.ts';
import { createPlan, linear, type PlacementPlan, rebalance, roundRobin } from '../../ts/placement/index.ts';
import { countExperts } from './count-experts.ts';

/** A plan for the layers of a capture. */
export interface ChosenPlan {
  readonly plan: PlacementPlan;
  /** For each layer of the capture, the index of its layer in the plan. */
  readonly planLayers: readonly number[];
  /** `[numLayers]`: the tokens before these made the plan, and those from them on judge it. */
  readonly judgedFrom: readonly number[];
}

/** The nodes of a group. */
export function numNodesOf({ numRanks, numRanksPerNode }: Pick<Settings, 'numRanks' | 'numRanksPerNode'>): number {
  return Math.ceil(numRanks / numRanksPerNode);
}

/** The placement that everything is compared with: equal blocks, or as equal as they can be. */
export function planBefore(capture: Capture, { numRanks }: Settings, judgedFrom: readonly number[]): ChosenPlan {
  return forAllLayers(linear({ numExperts: capture.numExperts, numRanks }), capture, judgedFrom);
}

/**
 * Makes or takes the plan that was chosen.
 *
 * @throws DispatchLayoutError with a full sentence, where the numbers do not fit.
 */
export function choosePlan(capture: Capture, settings: Settings): ChosenPlan {
  const { numExperts, numLayers } = capture;
  const { numRanks, placement, plan: stored } = settings;
  const onAll = Array.from({ length: numLayers }, () => 0);
  if (placement === 'linear') return forAllLayers(linear({ numExperts, numRanks }), capture, onAll);
  if (placement === 'round_robin') return forAllLayers(roundRobin({ numExperts, numRanks }), capture, onAll);
  if (placement === 'file') {
    if (stored === null) throw new Error('Choose the file of a plan.');
    const { physicalToLogical, layerIds } = stored;
    const plan = createPlan(physicalToLogical, { numRanks: stored.numRanks, numExperts, layerIds });
    return { plan, planLayers: layersIn(plan, capture, stored.name), judgedFrom: onAll };
  }
  const halves = onAll.map((_, layer) => Math.floor(tokensOf(capture, layer) / 2));
  const loads = hasTokens(capture)
    ? halves.map((half, layer) => countExperts(capture, layer, 0, half))
    : capture.counts;
  const plan = rebalance(loads, {
    numPhysicalExperts: numExperts + settings.numRedundant,
    numGroups: 1,
    numNodes: numNodesOf(settings),
    numRanks,
  });
  const layerIds = capture.layers ?? plan.layerIds;
  return { plan: { ...plan, layerIds }, planLayers: onAll.map((_, layer) => layer), judgedFrom: halves };
}

/** The kept tokens of a layer that are no padding at its end. */
export function tokensOf({ numKept, keepEvery, tokensOfLayer }: Capture, layer: number): number {
  return tokensOfLayer === null ? numKept : keptBefore(tokensOfLayer[layer], keepEvery);
}

function forAllLayers(plan: PlacementPlan, { numLayers }: Capture, judgedFrom: readonly number[]): ChosenPlan {
  return { plan, planLayers: Array.from({ length: numLayers }, () => 0), judgedFrom };
}

function layersIn(plan: PlacementPlan, { layers, numLayers }: Capture, name: string): readonly number[] {
  if (plan.numLayers === 1) return Array.from({ length: numLayers }, () => 0);
  if (layers === null) throw new Error(`${name} is for ${plan.numLayers} layers, and this routing is of one.`);
  return layers.map((layer) => {
    const index = plan.layerIds.indexOf(layer);
    if (index < 0) throw new Error(`${name} has no layer ${layer}, but ${plan.layerIds.join(', ')}.`);
    return index;
  });
}
