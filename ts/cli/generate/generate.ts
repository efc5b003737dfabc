/**
 * `dispatch-layout generate`: routing like that of DeepEP's own tests, more skewed if asked for.
 *
 * DeepEP's `tests/test_internode.py` scores every expert at random, keeps the groups (nodes) with the best top score, and
 * takes the top k experts within them. Only the order of scores matters there, so any distribution of scores gives the same
 * routing; ours lets an expert win with a probability in proportion to its popularity (an exponential race).
 *
 * @module
 */

import { fail, UsageError } from '../fail.ts';
import type { IntegerArray } from '../library.ts';
import { print } from '../print.ts';
import { startProgress } from '../progress.ts';
import { formatNpy } from '../write/npy.ts';
import { writeWholeFile } from '../write/write-file.ts';
import { logarithm, Random } from './random.ts';

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

/** Element types by name, with the largest id that each can hold. */
export const idTypes = {
  int64: {
    create: (length: number) => new BigInt64Array(length),
    bytes: 8,
    largest: Number.MAX_SAFE_INTEGER,
    signed: true,
  },
  int32: { create: (length: number) => new Int32Array(length), bytes: 4, largest: 2 ** 31 - 1, signed: true },
  int16: { create: (length: number) => new Int16Array(length), bytes: 2, largest: 2 ** 15 - 1, signed: true },
  int8: { create: (length: number) => new Int8Array(length), bytes: 1, largest: 2 ** 7 - 1, signed: true },
  uint32: { create: (length: number) => new Uint32Array(length), bytes: 4, largest: 2 ** 32 - 1, signed: false },
  uint16: { create: (length: number) => new Uint16Array(length), bytes: 2, largest: 2 ** 16 - 1, signed: false },
  uint8: { create: (length: number) => new Uint8Array(length), bytes: 1, largest: 2 ** 8 - 1, signed: false },
} as const;

type IdType = keyof typeof idTypes;

const maxBytes = 2 ** 31;
/** DeepEP's tests send a token to at most this many nodes, as DeepSeek-V3 does. */
const usualTopkGroups = 4;
const tokensPerStep = 1024;

/** @param path the `.npy` file to write, or `-` for standard output. */
export async function generate(path: string, flags: GenerateFlags): Promise<void> {
  const topkGroups = flags.topkGroups ?? Math.min(flags.numGroups, usualTopkGroups);
  check(flags, topkGroups);
  if (path === '-' && process.stdout.isTTY) fail('standard output is a terminal; redirect it, or name a file');
  const bytes = formatNpy(route(flags, topkGroups), shapeOf(flags));
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
  if (numExperts - 1 > idTypes[dtype].largest) {
    fail(`--dtype ${dtype} holds ids up to ${idTypes[dtype].largest}, too few for --num-experts ${numExperts}`);
  }
  if (flags.emptyShare > 0 && !idTypes[dtype].signed) fail(`--dtype ${dtype} cannot hold the -1 of --empty-share`);
  const bytes = shapeOf(flags).reduce((product, length) => product * length, idTypes[dtype].bytes);
  if (bytes > maxBytes) fail(`${bytes} bytes of routing are over the limit of 2 GiB; generate fewer tokens or layers`);
}

function route(flags: GenerateFlags, topkGroups: number): IntegerArray {
  const { numTokens, numTopk, numExperts, numGroups, emptyShare } = flags;
  const numLayers = flags.layers ?? 1;
  const ids = allocate(flags.dtype, numLayers * numTokens * numTopk);
  const write = writerOf(ids);
  const race = new Float64Array(numExperts);
  const groupRace = new Float64Array(numGroups);
  const bestGroups = new Int32Array(topkGroups);
  const bestExperts = new Int32Array(numTopk);
  const progress = startProgress('generating', numLayers * numTokens);
  try {
    for (let layer = 0; layer < numLayers; layer++) {
      const random = new Random(flags.seed, layer);
      const slowness = shuffledSlowness(numExperts, flags.skew, random);
      for (let token = 0; token < numTokens; token++) {
        for (let expert = 0; expert < numExperts; expert++) {
          const uniform = random.uniform();
          race[expert] = flags.skew === 0 ? -uniform : -logarithm(uniform) * slowness[expert];
        }
        if (topkGroups < numGroups) leaveOutGroups(race, groupRace, bestGroups);
        smallest(race, bestExperts);
        const row = (layer * numTokens + token) * numTopk;
        for (let slot = 0; slot < numTopk; slot++) {
          write(row + slot, emptyShare > 0 && random.uniform() < emptyShare ? -1 : bestExperts[slot]);
        }
        if (token % tokensPerStep === 0) progress.update(layer * numTokens + token);
      }
    }
  } finally {
    progress.stop();
  }
  return ids;
}

function allocate(dtype: IdType, length: number): IntegerArray {
  try {
    return idTypes[dtype].create(length);
  } catch (error) {
    throw new UsageError(`not enough memory for ${length} ids; generate fewer tokens or layers`, { cause: error });
  }
}

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

/**
 * What each expert's time in the race is multiplied by: (place in popularity)^skew, Zipf's law. Which expert has which place
 * is shuffled, layer by layer, as popularity has nothing to do with the numbering of experts.
 */
function shuffledSlowness(numExperts: number, skew: number, random: Random): Float64Array {
  // Engines may differ in the last bit of a power; rounded to 32 bits, they agree.
  const slowness = Float64Array.from({ length: numExperts }, (_, place) => Math.fround((place + 1) ** skew));
  for (let last = numExperts - 1; last > 0; last--) {
    const other = random.below(last + 1);
    [slowness[last], slowness[other]] = [slowness[other], slowness[last]];
  }
  return slowness;
}

/** Takes the experts of all but the best groups out of the race. A group is as good as its best expert. */
function leaveOutGroups(race: Float64Array, groupRace: Float64Array, bestGroups: Int32Array): void {
  const groupSize = race.length / groupRace.length;
  for (let group = 0; group < groupRace.length; group++) {
    let best = race[group * groupSize];
    for (let expert = group * groupSize + 1; expert < (group + 1) * groupSize; expert++) {
      if (race[expert] < best) best = race[expert];
    }
    groupRace[group] = best;
  }
  smallest(groupRace, bestGroups);
  for (let group = 0; group < groupRace.length; group++) {
    if (!bestGroups.includes(group)) race.fill(Number.POSITIVE_INFINITY, group * groupSize, (group + 1) * groupSize);
  }
}

/** The indices of the smallest values, best first; of equal ones the lower index. As many as `best` has room for. */
function smallest(values: Float64Array, best: Int32Array): void {
  let found = 0;
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    if (found === best.length && (found === 0 || value >= values[best[found - 1]])) continue;
    let place = found < best.length ? found++ : found - 1;
    for (; place > 0 && value < values[best[place - 1]]; place--) best[place] = best[place - 1];
    best[place] = index;
  }
}
