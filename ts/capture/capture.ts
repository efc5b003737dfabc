/**
 * A capture: what a page of pictures keeps of routing. It has the counts of all tokens and, of the tokens themselves, as
 * many as fit: all of them, or blocks that are spread evenly.
 *
 * @module
 */
import type { Finding } from '../findings/finding.ts';

/** Ids in as few bytes as they fit. The largest number of the type stands for an empty slot. */
export type KeptIds = Uint8Array | Uint16Array | Uint32Array;

/** Where routing comes from, and how it was read. */
export interface CaptureFacts {
  /** The names of the files. */
  readonly name: string;
  readonly format: string;
  /** Who wrote the files; `null` where nothing tells. */
  readonly producer: string | null;
  readonly idType: string;
  readonly axes: string;
  /** Why they are known, as the rest of a sentence. */
  readonly axesBecause: string;
  /** For each file, the rank whose tokens it has; `null` where it does not say. */
  readonly ranks: readonly (number | null)[];
  /** The numbers of the layers, or `null` where the routing is a single matrix. */
  readonly layers: readonly number[] | null;
  readonly numLayers: number;
  /** The tokens of each layer. */
  readonly numTokens: number;
  /** How many tokens the file has of each layer, where that differs. The slots of the others are empty. */
  readonly tokensOfLayer: readonly number[] | null;
  /** The indices of the layers that hold one expert only, or none. */
  readonly dense: readonly number[];
  readonly numTopk: number;
  /** The experts that ids may name. */
  readonly numExperts: number;
  /** What is wrong or odd in the routing. */
  readonly findings: readonly Finding[];
}

/** Kept tokens that follow one another and are of the same file. */
export interface FileRun {
  /** The index of the file; null for rows that no file has. */
  readonly file: number | null;
  /** The kept tokens up to this one are of it. */
  readonly end: number;
}

/** What a page keeps of routing. */
export interface Capture extends CaptureFacts {
  /** The kept tokens of each layer. */
  readonly numKept: number;
  /** Which blocks of {@link blockTokens} tokens are kept: each one if 1, else the first one of so many. */
  readonly keepEvery: number;
  /** `[numLayers]`: which kept tokens are of which file, in the order of tokens. */
  readonly runs: readonly (readonly FileRun[])[];
  /** `[numLayers]` of `[numExperts]`: how often each expert was selected, by all tokens. */
  readonly counts: readonly Float64Array[];
  /** `[numLayers]` of `[numKept, numTopk]`: the experts of the kept tokens. */
  readonly ids: readonly KeptIds[];
}

/** Whether there are tokens. A capture of files that hold counts of experts has none. */
export function hasTokens({ numKept, numTopk }: Capture): boolean {
  return numKept > 0 && numTopk > 0;
}

/** Tokens that are not all kept are kept in blocks of so many: enough to see what a small batch sees. */
export const blockTokens = 512;

/** A page takes no larger number of experts: it must be a mistake. */
export const mostExperts = 2 ** 16;

/** How many of the tokens before this one are kept. */
export function keptBefore(token: number, keepEvery: number): number {
  const block = Math.floor(token / blockTokens);
  const numFull = Math.ceil(block / keepEvery) * blockTokens;
  return numFull + (block % keepEvery === 0 ? token % blockTokens : 0);
}

/** The number of a kept token among all tokens of its layer. */
export function tokenOf({ keepEvery }: Pick<Capture, 'keepEvery'>, kept: number): number {
  return kept + Math.floor(kept / blockTokens) * (keepEvery - 1) * blockTokens;
}

/** The class of the array that holds ids of so many experts. */
export function keptArray(numExperts: number): Uint8ArrayConstructor | Uint16ArrayConstructor | Uint32ArrayConstructor {
  return numExperts < 2 ** 8 ? Uint8Array : numExperts < 2 ** 16 ? Uint16Array : Uint32Array;
}

/** The number that stands for an empty slot. */
export function emptyIn({ BYTES_PER_ELEMENT }: KeptIds): number {
  return 2 ** (8 * BYTES_PER_ELEMENT) - 1;
}
