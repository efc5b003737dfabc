/**
 * What is wrong or odd in routing.
 *
 * @module
 */

/** A stable identifier of a finding. */
export type FindingCode =
  /** Layers in which all selections are of one expert, or there are none: dense ones, or such that were not captured. */
  | 'DENSE_LAYERS'
  /** Layers that have the same ids as another one. */
  | 'EQUAL_LAYERS'
  /** Tokens that select an expert twice. */
  | 'EXPERT_TWICE'
  /** Identical rows at the start of a layer, as from warming up. */
  | 'WARM_UP'
  /** Rows in which every slot holds the same expert, or none does, as padding does. */
  | 'PADDING'
  /** An id other than -1 that seems to stand for an empty slot. */
  | 'SENTINEL'
  /** Ids that are neither empty nor an expert. */
  | 'OUT_OF_RANGE'
  /** Numbers that seem to be counts and not ids. */
  | 'COUNTS'
  /** Axes that seem to be read in the wrong order. */
  | 'AXES'
  /** Ids that name the places of experts and their replicas, not experts. */
  | 'PHYSICAL_IDS'
  /** Experts that no token selects. */
  | 'NEVER_CHOSEN'
  /** Experts that every token of a layer selects. */
  | 'ALWAYS_CHOSEN'
  /** Layers of which the file has fewer tokens than of others. */
  | 'RAGGED_LAYERS'
  /** What the format says of how it was read. */
  | 'NOTE';

/** One finding. Its texts are full sentences without a full stop. */
export interface Finding {
  readonly code: FindingCode;
  readonly what: string;
  /** The numbers of the layers, or `null` where it is all of them or there are none. */
  readonly layers: readonly number[] | null;
  /** How many layers, tokens, slots or experts it is about, as `what` says. */
  readonly count: number;
  /** What it does to the figures; `null` if it changes none. */
  readonly effect: string | null;
  /** The flag that deals with it, or what else to do; `null` for what is only good to know. */
  readonly remedy: string | null;
}
