/**
 * Chooses among the arrays of a container that does not say which one holds the ids.
 *
 * @module
 */
import type { ArrayContents, StoredArray } from './contents.ts';
import { otherPurpose, withPurpose } from './other-purpose.ts';
import type { ReadOptions } from './read-options.ts';
import { refuse } from './routing-error.ts';

/**
 * The one array of ids: the one that was asked for, or the only one that can be it.
 *
 * @param file what to call the container in errors.
 * @throws {@link RoutingError} `CHOICE` if there are several, or none of the name that was asked for; `NOT_ROUTING` if none
 *   is of integers and of 2 to 4 dimensions.
 */
export function chooseArray(
  file: string,
  { arrays, others }: ArrayContents,
  { array: wanted }: ReadOptions,
): StoredArray {
  const isNameless = arrays.length === 1 && arrays[0].name === '' && others.length === 0;
  const listed = shorten([...arrays.map(describeArray), ...others.map(({ name, what }) => `${name}: ${what}`)]);
  if (wanted !== undefined) {
    if (isNameless) {
      const problem = `has one array without a name, and array: '${wanted}' chooses from several`;
      refuse('CHOICE', problem, { file, remedy: `leave out array: '${wanted}'` });
    }
    const found = arrays.find(({ name }) => name === wanted);
    if (found === undefined) {
      refuse('CHOICE', `holds no array '${wanted}' of integers`, { file, remedy: `choose one of ${listed}` });
    }
    checkNumAxes(file, found);
    return found;
  }
  if (isNameless) {
    const [array] = arrays;
    // An empty list is routing without tokens.
    if (array.shape.length === 1 && array.shape[0] === 0) return { ...array, shape: [0, 0], strides: [0, 1] };
    checkNumAxes(file, array);
  }
  const candidates = arrays.filter(
    ({ name, shape }) => shape.length >= 2 && shape.length <= 4 && otherPurpose(name) === undefined,
  );
  if (candidates.length === 1) return candidates[0];
  if (candidates.length === 0) {
    const problem = `holds no array that can be ids, integers of 2 to 4 dimensions, but ${listed}`;
    return refuse('NOT_ROUTING', problem, { file, remedy: 'save the ids that top-k returns' });
  }
  const problem = `holds ${candidates.length} arrays of integers that could be routing (${shorten(candidates.map(describeArray))})`;
  return refuse('CHOICE', problem, { file, remedy: "choose one with array: 'NAME'" });
}

function checkNumAxes(file: string, { shape }: StoredArray): void {
  if (shape.length >= 2 && shape.length <= 4) return;
  refuse('NOT_ROUTING', `is [${shape.join(', ')}]`, { file, remedy: 'give [tokens, topk], or [layers, tokens, topk]' });
}

function describeArray({ name, type, shape }: StoredArray): string {
  return `${name}: ${withPurpose(`${type} [${shape.join(', ')}]`, otherPurpose(name))}`;
}

function shorten(names: readonly string[]): string {
  return names.length > 12 ? `${names.slice(0, 12).join(', ')}, …` : names.join(', ');
}
