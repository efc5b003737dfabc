/**
 * What a format finds in a file. A format does as little as it can: it says where the ids lie and what is known of
 * them. Choosing among arrays, deciding axes and reading in pieces are the same for all formats, and not in them.
 *
 * @module
 */
import type { IdType, IntegerArray } from '../values/id-types.ts';
import type { ByteSource } from './byte-source.ts';

/** The container formats, by the names that reports give them. */
export type FormatName = 'npy' | 'npz' | 'json' | 'jsonl' | 'csv' | 'safetensors' | 'pt' | 'tensorrt-llm';

/** What a dimension of an array stands for. `tokens` may stand for several, which are read as one, row-major. */
export type Axis = 'layers' | 'tokens' | 'topk';

/** What is known of a file, whatever it holds. */
export interface FileFacts {
  readonly format: FormatName;
  /** Who wrote it, in a word or two, such as `vLLM` or `SGLang recorder`; `null` where nothing tells. */
  readonly producer: string | null;
  /** Whether ids name experts, or the slots into which experts and their replicas are loaded; `null` if unknown. */
  readonly numbering: 'logical' | 'physical' | null;
  /** The rank whose tokens these are; `null` where the file does not say. */
  readonly rank: number | null;
  /** The number of experts; `null` where the file does not say. */
  readonly numExperts: number | null;
  /** What a reader should know of how the file was read, each a full sentence, such as cells that are missing. */
  readonly notes: readonly string[];
}

/**
 * An array that lies in a file, of any shape, byte order and strides. It is of integers, unless its type says that it may
 * be of others.
 */
export interface StoredArray<Type extends string = IdType> {
  /** Its name in its container: that of an `.npz` entry, a tensor, or a path of keys. Empty if it is alone. */
  readonly name: string;
  /** The type of its elements. That of others than integers is as PyTorch names it, such as `bfloat16`. */
  readonly type: Type;
  /** Whether its bytes are in little-endian order. */
  readonly littleEndian: boolean;
  readonly shape: readonly number[];
  /** For each dimension, how many elements apart neighbours are. They may be 0 or negative. */
  readonly strides: readonly number[];
  /** What its elements are read from. */
  readonly source: ByteSource;
  /** The byte of `source` at which the element of index 0 begins. */
  readonly position: number;
}

/** An array in a container that cannot be the ids, because it is not of integers. */
export interface OtherArray {
  readonly name: string;
  /** What it is, in the words of a message: `float32 [8, 4]`. */
  readonly what: string;
}

/** Arrays in a container that does not say what they are. One of them is chosen, and its axes are decided. */
export interface ArrayContents extends FileFacts {
  readonly kind: 'arrays';
  /** The arrays of integers, in the order of the file. */
  readonly arrays: readonly StoredArray[];
  readonly others: readonly OtherArray[];
}

/** Ids whose place in the grid of layers, tokens and slots the format fixes. */
export interface IdContents extends FileFacts {
  readonly kind: 'ids';
  readonly grid: IdGrid;
  /** The axes as they lie in the file, such as `tokens,layers,topk`. */
  readonly axes: string;
  /** Why they are known, as the rest of a sentence: `vLLM writes tokens first`. */
  readonly axesBecause: string;
}

/** Counts of tokens by expert. They serve the balance of loads, and no layout. */
export interface CountContents extends FileFacts {
  readonly kind: 'counts';
  /** The numbers of the layers in the model. */
  readonly layers: readonly number[];
  /** The counts of each layer, summed over steps and passes: `[layers, experts]`. */
  readonly counts: readonly Float64Array[];
  /** Of counts of slots, the expert in each slot of each layer, where the file says it. */
  readonly expertOfSlot?: readonly Int32Array[];
}

/** What a format finds in a file. */
export type Contents = ArrayContents | IdContents | CountContents;

/** A part of the ids of one layer: `numTokens` rows of `topk` ids. */
export interface GridPiece {
  /** The index of the layer in the grid, which need not be its number in the model. */
  readonly layer: number;
  /** The token of the first row, counted in its layer. */
  readonly firstToken: number;
  /** The number of rows. */
  readonly numTokens: number;
  /** `[numTokens, topk]`, row-major: a part of the array that the caller gave. It is valid until the next piece. */
  readonly ids: IntegerArray;
}

/** Ids of a full grid of layers, tokens and slots. Cells that the file does not have are -1. */
export interface IdGrid {
  readonly idType: IdType;
  /** The numbers of the layers in the model, in the order of the grid. Without names in the file they count from 0. */
  readonly layers: readonly number[];
  /** The tokens of each layer. A layer with fewer of them is filled with -1. */
  readonly numTokens: number;
  /** How many tokens the file has of each layer, where that differs: a ragged grid. */
  readonly tokensOfLayer?: readonly number[];
  readonly numTopk: number;
  /**
   * Reads the ids of some layers, each id once, in bounded memory. The pieces of one layer come in the order of its
   * tokens; whether layers come one after the other or in turns depends on how they lie in the file.
   *
   * @param layers indices of layers in the grid, ascending.
   * @param into what every piece is written to: an array of `idType` with room for one token or more.
   */
  pieces(layers: readonly number[], into: IntegerArray): AsyncGenerator<GridPiece, void, void>;
}
