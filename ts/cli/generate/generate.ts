/**
 * `dispatch-layout generate`: checks the flags, draws routing, and writes it as `.npy`.
 *
 * @module
 */

import { fail, withMemory } from '../fail.ts';
import { type IdType, type IdTypeFacts, type IntegerArray, idTypeNames, idTypes, sizeOf } from '../library.ts';
import { print } from '../print.ts';
import { formatNpy } from '../write/npy.ts';
import { writeWholeFile } from '../write/write-file.ts';
import { drawRouting } from './draw-routing.ts';

/** The flags of `generate`, parsed. */
export interface GenerateFlags {
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numGroups: number;
  readonly topkGroups?: number;
  readonly skew: number;
  readonly emptyShare: number;
  readonly seed: number;
  readonly layers?: number;
  readonly dtype: IdType;
}

/** The types in which ids can be written. */
export const generatedTypes: readonly IdType[] = idTypeNames.filter((name) => name !== 'uint64');

/** The largest id that a type holds without loss. */
function largestId({ bytes, isSigned }: IdTypeFacts): number {
  return Math.min(2 ** (8 * bytes - (isSigned ? 1 : 0)) - 1, Number.MAX_SAFE_INTEGER);
}

/** The most bytes that are generated. */
const maxBytes = 2 ** 31;
/** The default of `--topk-groups`: DeepEP's tests send a token to at most four nodes, as DeepSeek-V3 does. */
const usualTopkGroups = 4;

/** @param path the `.npy` file to write, or `-` for standard output. */
export async function generate(path: string, flags: GenerateFlags): Promise<void> {
  const topkGroups = flags.topkGroups ?? Math.min(flags.numGroups, usualTopkGroups);
  check(flags, topkGroups);
  if (path === '-' && process.stdout.isTTY) fail('standard output is a terminal; redirect it, or name a file');
  const length = sizeOf(shapeOf(flags));
  const allocating = <Result>(work: () => Result): Result =>
    withMemory(`${length} ids`, 'generate fewer tokens or layers', work);
  const ids: IntegerArray = allocating(() => new idTypes[flags.dtype].array(length));
  drawRouting({ ...flags, numLayers: flags.layers ?? 1, topkGroups }, writerOf(ids));
  const bytes = allocating(() => formatNpy(ids, shapeOf(flags)));
  if (path === '-') {
    await print(bytes);
    return;
  }
  writeWholeFile(path, bytes);
  const shape = `[${shapeOf(flags).join(', ')}]`;
  await print(`wrote ${path}: ${flags.dtype} ${shape}, ${flags.numExperts} experts, seed ${flags.seed}\n`);
}

function shapeOf({ layers, numTokens, numTopk }: GenerateFlags): number[] {
  return layers === undefined ? [numTokens, numTopk] : [layers, numTokens, numTopk];
}

/** Refuses flags that are valid by themselves but not together. */
function check(flags: GenerateFlags, topkGroups: number): void {
  const { numExperts, numTopk, numGroups, dtype } = flags;
  if (numExperts % numGroups !== 0) {
    fail(`--num-groups ${numGroups} does not divide --num-experts ${numExperts}; groups are equal blocks of experts`);
  }
  if (topkGroups > numGroups) fail(`--topk-groups ${topkGroups} is more than --num-groups ${numGroups}`);
  const selectable = (numExperts / numGroups) * topkGroups;
  if (numTopk > selectable) {
    const where = numGroups === 1 ? 'there are' : `are in ${topkGroups} of ${numGroups} groups`;
    fail(`--num-topk ${numTopk} is more than the ${selectable} experts that ${where}`);
  }
  if (numExperts - 1 > largestId(idTypes[dtype])) {
    fail(`--dtype ${dtype} holds ids up to ${largestId(idTypes[dtype])}, too few for --num-experts ${numExperts}`);
  }
  if (flags.emptyShare > 0 && !idTypes[dtype].isSigned) fail(`--dtype ${dtype} cannot hold the -1 of --empty-share`);
  const bytes = sizeOf(shapeOf(flags)) * idTypes[dtype].bytes;
  if (bytes > maxBytes) fail(`${bytes} bytes of routing are over the limit of 2 GiB; generate fewer tokens or layers`);
}

/** A function that writes an id to the array, whatever the type of its elements. */
function writerOf(ids: IntegerArray): (index: number, id: number) => void {
  if (ids instanceof BigInt64Array || ids instanceof BigUint64Array) {
    return (index, id) => {
      ids[index] = BigInt(id);
    };
  }
  return (index, id) => {
    ids[index] = id;
  };
}
