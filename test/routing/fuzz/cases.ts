/**
 * The cases of the fuzzer. A case is known by its number: the first ones are every seed, cut off at every byte; those
 * after them are random.
 *
 * @module
 */
import type { OpenRoutingOptions } from '../../../ts/routing/index.ts';
import { Random } from '../../support/random.ts';
import { mutate } from './mutate.ts';
import { fileOf, type Seed, sampleSeeds, seeds } from './seeds.ts';

/** How a file is given to the library. */
export type SourceKind = 'bytes' | 'blob' | 'stream' | 'path';

/** A file to read. */
export interface Case {
  /** What it was made of. */
  readonly origin: string;
  readonly file: Uint8Array;
  /** The directory in which it lies. Without one it is a file of its own. */
  readonly directory: Seed['directory'];
  readonly kind: SourceKind;
  readonly options: OpenRoutingOptions;
}

/** All cases of a seed of random numbers. */
export class Cases {
  readonly #random: number;
  readonly #seeds: readonly Seed[];
  readonly #made: readonly Seed[];
  /** The number of cases that are cut off. */
  readonly numCut: number;

  /** @param executedPath a file that only a command in one of the files would make. */
  constructor(random: number, executedPath: string) {
    this.#random = random;
    this.#made = seeds(executedPath);
    this.#seeds = [...this.#made, ...sampleSeeds()];
    this.numCut = this.#made.reduce((sum, seed) => sum + fileOf(seed).length + 1, 0);
  }

  get(number: number): Case {
    return number < this.numCut ? this.#cut(number) : this.#changed(number);
  }

  #cut(number: number): Case {
    let length = number;
    for (const seed of this.#made) {
      const file = fileOf(seed);
      if (length <= file.length) {
        const origin = `${seed.name}, the first ${length} of ${file.length} bytes`;
        const kind = seed.directory === undefined ? 'bytes' : 'path';
        return { origin, file: file.subarray(0, length), directory: seed.directory, kind, options: seed.options ?? {} };
      }
      length -= file.length + 1;
    }
    throw new RangeError(`case ${number} is not one of those that are cut off`);
  }

  #changed(number: number): Case {
    const random = new Random(Math.imul(this.#random, 0x85ebca6b) ^ number);
    const seed = random.pick(random.chance(0.7) ? this.#made : this.#seeds);
    const other = random.pick(this.#seeds);
    const inside = random.below(seed.parts.length);
    const file = random.chance(0.6)
      ? fileOf(
          seed,
          seed.parts.map((part, index) =>
            index === inside ? mutate(part, random, other.parts[random.below(other.parts.length)]) : part,
          ),
        )
      : mutate(fileOf(seed), random, fileOf(other));
    const kinds: readonly SourceKind[] = ['bytes', 'bytes', 'bytes', 'blob', 'stream', 'path'];
    return {
      origin: seed.name,
      file,
      directory: seed.directory,
      kind: seed.directory === undefined ? random.pick(kinds) : 'path',
      options: random.chance(0.6) ? (seed.options ?? {}) : random.pick(someOptions),
    };
  }
}

const someOptions: readonly OpenRoutingOptions[] = [
  { numLayers: 3, numTopk: 2 },
  { axes: 'layers,tokens,topk' },
  { axes: 'tokens,layers,topk' },
  { axes: 'topk,tokens' },
  { axes: 'tokens,tokens,layers,topk' },
  { array: 'ids' },
  { numLayers: 1, numTopk: 1, idType: 'uint8' },
  { numLayers: 2 ** 40, numTopk: 2 ** 40 },
  { numLayers: 0, numTopk: 0 },
];
