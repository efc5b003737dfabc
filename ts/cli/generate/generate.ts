/**
 * `dispatch-layout generate`: checks the flags, draws routing, and writes it as `.npy`.
 *
 * @module
 */

import { fail } from '../fail.ts';
import { type IdType, type IdTypeFacts, type IntegerArray, idTypeNames, idTypes, sizeOf } from '../library.ts';
import { print } from '../print.ts';
import { formatNpyHeader, type NpyType } from '../write/npy.ts';
import { WholeFile } from '../write/whole-file.ts';
import { drawRouting } from './draw-routing.ts';
import { checkWorkload, drawWorkload, tokensOfRanks, type WorkloadFlags } from './draw-workload.ts';

/** The flags of `generate`, parsed. */
export interface GenerateFlags extends WorkloadFlags {
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

/** What stands in the name of a file for the rank whose tokens are in it. */
const rankInName = '{rank}';

/**
 * @param path the `.npy` file to write, or `-` for standard output. With `{rank}` in its name, there is a file for each
 *   rank.
 */
export async function generate(path: string, flags: GenerateFlags): Promise<void> {
  const topkGroups = flags.topkGroups ?? Math.min(flags.numGroups, usualTopkGroups);
  const hasRanks = path.includes(rankInName);
  check(flags, topkGroups);
  checkWorkload(flags, hasRanks);
  if (path === '-' && process.stdout.isTTY) fail('standard output is a terminal; redirect it, or name a file');
  if (!hasRanks) {
    const model = { ...flags, numLayers: flags.layers ?? 1, topkGroups };
    await write(
      path,
      flags,
      flags.workload === undefined ? drawRouting(model) : drawWorkload(flags, 0, flags.numTokens),
    );
    return;
  }
  for (const [rank, numTokens] of tokensOfRanks(flags).entries()) {
    const ofRank = { ...flags, numTokens };
    await write(path.replaceAll(rankInName, String(rank)), ofRank, drawWorkload(flags, rank, numTokens));
  }
}

/** Writes a file. */
async function write(path: string, flags: GenerateFlags, pieces: Iterable<Int32Array>): Promise<void> {
  const { bytes, isSigned, array } = idTypes[flags.dtype];
  const header = formatNpyHeader(`${isSigned ? 'i' : 'u'}${bytes}` as NpyType, shapeOf(flags));
  const file = path === '-' ? null : WholeFile.create(path);
  let position = 0;
  const append = async (part: Uint8Array): Promise<void> => {
    if (file === null) await print(part.slice());
    else file.write(position, part);
    position += part.length;
    // Signals, such as that of Ctrl-C, are received between two pieces.
    await new Promise(setImmediate);
  };
  try {
    await append(header);
    for (const ids of pieces) {
      const typed = ids instanceof array ? ids : converted(ids, flags.dtype);
      await append(new Uint8Array(typed.buffer, typed.byteOffset, typed.byteLength));
    }
    file?.finish();
  } finally {
    file?.discard();
  }
  if (file === null) return;
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

/** The same ids in an array of another type. */
function converted(ids: Int32Array, type: IdType): IntegerArray {
  const result: IntegerArray = new idTypes[type].array(ids.length);
  if (idTypes[type].bytes < 8) {
    (result as Int32Array).set(ids);
    return result;
  }
  // Bigints are slow. An int64 is its lower half and then the sign.
  const halves = new Int32Array(result.buffer);
  for (let i = 0; i < ids.length; i++) {
    halves[2 * i] = ids[i];
    halves[2 * i + 1] = ids[i] >> 31;
  }
  return result;
}
