/**
 * Reads whole small arrays of integers, such as a placement.
 *
 * @module
 */
import { type IntegerArray, idTypes } from '../values/id-types.ts';
import { denseStrides, sizeOf } from '../values/shape.ts';
import type { StoredArray } from './contents.ts';
import { Gatherer } from './gather.ts';
import { type OpenRoutingOptions, openContents, type RoutingSource } from './open-contents.ts';
import { refuse } from './routing-error.ts';

/** An array of integers, row-major. */
export interface Integers {
  readonly data: IntegerArray;
  readonly shape: readonly number[];
}

/** More elements than any table has that is read as a whole. */
const maxElements = 2 ** 24;

/**
 * Reads the only array of integers of a file, whatever its number of dimensions.
 *
 * @throws {@link RoutingError} if the file is none with one array of integers, or it is longer than 16,777,216 elements.
 */
export async function readIntegers(source: RoutingSource, options: OpenRoutingOptions = {}): Promise<Integers> {
  const { files, close } = await openContents(source, { ...options, takesAllIntegers: true });
  try {
    const [{ name: file, contents }] = files;
    if (contents.kind !== 'arrays' || contents.arrays.length !== 1) {
      return refuse('CHOICE', 'does not hold one array of integers', { file, remedy: 'save it alone, as .npy' });
    }
    return await readArray(file, contents.arrays[0]);
  } finally {
    close();
  }
}

/**
 * Reads all arrays of integers of a file, by their names. One that is alone in its file may have the empty name.
 *
 * @throws {@link RoutingError} if the file holds no arrays, or one is longer than 16,777,216 elements.
 */
export async function readNamedIntegers(
  source: RoutingSource,
  options: OpenRoutingOptions = {},
): Promise<ReadonlyMap<string, Integers>> {
  const { files, close } = await openContents(source, { ...options, takesAllIntegers: true });
  try {
    const [{ name: file, contents }] = files;
    if (contents.kind !== 'arrays') {
      return refuse('CHOICE', 'does not hold arrays of integers', { file, remedy: 'save them alone, as .npy or .npz' });
    }
    const arrays = new Map<string, Integers>();
    for (const array of contents.arrays) arrays.set(array.name, await readArray(file, array));
    return arrays;
  } finally {
    close();
  }
}

async function readArray(file: string, array: StoredArray): Promise<Integers> {
  const { shape, strides, type } = array;
  const size = sizeOf(shape);
  if (size > maxElements) {
    const problem = `is [${shape.join(', ')}], more than ${maxElements} elements`;
    refuse('TOO_LARGE', problem, { file, remedy: 'save only what is needed' });
  }
  const data: IntegerArray = new idTypes[type].array(size);
  const into = denseStrides(shape);
  const dimensions = shape.map((length, axis) => ({ length, from: strides[axis], into: into[axis] }));
  await new Gatherer(array).gather(0, dimensions, data, 0);
  return { data, shape };
}
