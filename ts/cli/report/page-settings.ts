/**
 * The settings by which a page of pictures begins: those of the report.
 *
 * @module
 */
import {
  defaultSettings,
  firstRedundant,
  type PlacementChoice,
  type Settings,
  type StoredPlan,
} from '../../capture/settings.ts';
import type { RoutingLayout } from '../compute/layout.ts';
import { loadPlacement } from '../library.ts';
import type { ChosenPlacement } from '../read/placement.ts';
import type { ChosenPlan } from '../read/plan.ts';
import type { ReplicaChoice } from '../read/replica-choice.ts';
import { defaultBytesPerElement } from './traffic.ts';

/** The flags of which a page shows the effect. */
export interface PageFlags {
  readonly keepDense?: true;
  readonly window?: number;
  readonly hiddenSize?: number;
  readonly bytesPerElement?: number;
}

/**
 * The settings that a page begins with: those of the report.
 *
 * @param layer the index of the layer that is shown alone first.
 */
export async function settingsOf(
  { numExperts, numRanks, numRanksPerNode }: RoutingLayout,
  placement: ChosenPlacement | ChosenPlan,
  { rule, sourceRank }: ReplicaChoice,
  { keepDense, window, hiddenSize, bytesPerElement = defaultBytesPerElement }: PageFlags,
  layer: number,
): Promise<Settings> {
  return {
    ...defaultSettings(numExperts),
    numRanks,
    numRanksPerNode,
    placement: placementChoice(placement),
    plan: await storedPlan(placement, numExperts, numRanks),
    numRedundant: firstRedundant(numExperts, numRanks),
    replicaRule: rule,
    sourceRank: sourceRank ?? null,
    layer,
    ...(window !== undefined && { window }),
    keepDense: keepDense === true,
    hiddenSize: hiddenSize ?? null,
    bytesPerElement,
  };
}

function placementChoice({ name }: ChosenPlacement | ChosenPlan): PlacementChoice {
  if (name === 'contiguous') return 'linear';
  return name === 'linear' || name === 'round_robin' ? name : 'file';
}

/** A plan, or a table of ranks as a plan; null for a placement by a name. */
async function storedPlan(
  placement: ChosenPlacement | ChosenPlan,
  numExperts: number,
  numRanks: number,
): Promise<StoredPlan | null> {
  if (placementChoice(placement) !== 'file') return null;
  const { readPlan } = await loadPlacement();
  const plan =
    'plan' in placement
      ? placement.plan
      : readPlan([...(placement.option as readonly number[])], { numExperts, numRanks });
  return {
    name: placement.inWords.replace(/^placed by /, ''),
    numRanks,
    layerIds: plan.layerIds,
    physicalToLogical: plan.physicalToLogical.map((slots) => Array.from(slots)),
  };
}
