/**
 * What a page of pictures shows of a capture. The command line writes the first settings, and the page's controls change
 * them.
 *
 * @module
 */

/** Where the experts are: by a name, by EPLB, or by a plan from a file. */
export type PlacementChoice = 'linear' | 'round_robin' | 'eplb' | 'file';

/** A plan, as it is kept in a page. */
export interface StoredPlan {
  /** The name of its file. */
  readonly name: string;
  readonly numRanks: number;
  readonly layerIds: readonly number[];
  /** `[numLayers]` of `[numPhysicalExperts]`: the expert in each slot, -1 for none. */
  readonly physicalToLogical: readonly (readonly number[])[];
}

/** What is shown. */
export interface Settings {
  readonly numRanks: number;
  readonly numRanksPerNode: number;
  readonly placement: PlacementChoice;
  /** The plan of the file, where there is one. */
  readonly plan: StoredPlan | null;
  /** Slots for replicas that EPLB has, beside one for each expert. */
  readonly numRedundant: number;
  readonly replicaRule: 'round_robin' | 'hash' | 'nearest';
  /** The rank that sends the tokens, for the rule `nearest`. */
  readonly sourceRank: number | null;
  /** The index of the layer that is shown alone. */
  readonly layer: number;
  /** The tokens of a window: what one batch sees. */
  readonly window: number;
  /** Whether layers that hold one expert only are counted. */
  readonly keepDense: boolean;
  /** Elements of a token, from which bytes are computed; `null` where unknown. */
  readonly hiddenSize: number | null;
  readonly bytesPerElement: number;
}

/** The settings where nobody has chosen any. */
export function defaultSettings(numExperts: number): Settings {
  return {
    numRanks: Math.min(8, numExperts),
    numRanksPerNode: 8,
    placement: 'linear',
    plan: null,
    numRedundant: 0,
    replicaRule: 'round_robin',
    sourceRank: null,
    layer: 0,
    window: 4096,
    keepDense: false,
    hiddenSize: null,
    bytesPerElement: 2,
  };
}

/** The fewest slots for replicas with which all ranks have the same number of slots. */
export function firstRedundant(numExperts: number, numRanks: number): number {
  return (numRanks - (numExperts % numRanks)) % numRanks;
}
