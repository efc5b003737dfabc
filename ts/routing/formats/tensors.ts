/**
 * Named tensors, as safetensors and `.pt` files have them: which of them can be ids, and what the others seem to be.
 *
 * @module
 */
import { idTypes } from '../../values/id-types.ts';
import { canBeIds, hasAxesOfIds } from '../choose-array.ts';
import type { ArrayContents, FormatName, OtherArray, StoredArray } from '../contents.ts';
import { otherPurpose, withPurpose } from '../other-purpose.ts';
import type { ReadOptions } from '../read-options.ts';
import { refuse } from '../routing-error.ts';
import { nothingKnown } from './npy.ts';

/** A tensor that lies in a file, of elements of any type. */
export type Tensor = StoredArray<string>;

/** Whether a tensor has integers that can be ids. */
export function isOfIntegers(tensor: Tensor): tensor is StoredArray {
  return Object.hasOwn(idTypes, tensor.type);
}

/** A tensor in the words of a message: `int32 [4, 3, 2]`. */
export function describedTensor({ type, shape }: Tensor): string {
  return `${type} [${shape.join(', ')}]`;
}

/**
 * The contents of a container of tensors that is of no known producer.
 *
 * @throws {@link RoutingError} `NOT_ROUTING` if none of the tensors can be ids
 */
export function contentsOfTensors(
  tensors: readonly Tensor[],
  file: string,
  format: FormatName,
  options: ReadOptions,
): ArrayContents {
  const arrays = tensors.filter(isOfIntegers);
  const others = tensors
    .filter((tensor) => !isOfIntegers(tensor))
    .map((tensor): OtherArray => ({ name: tensor.name, what: describedTensor(tensor) }));
  const isWanted = (array: StoredArray): boolean =>
    options.takesAllIntegers === true || canBeIds(array) || array.name === options.array;
  if (!arrays.some(isWanted)) failWithoutIds(tensors, file);
  return { kind: 'arrays', arrays, others, format, ...nothingKnown };
}

function failWithoutIds(tensors: readonly Tensor[], file: string): never {
  const listed = tensors.slice(0, 6).map((tensor) => {
    const what = withPurpose(describedTensor(tensor), otherPurpose(tensor.name));
    return tensor.name === '' ? what : `${tensor.name}: ${what}`;
  });
  if (tensors.length > listed.length) listed.push('…');
  const holds = tensors.length === 0 ? 'holds no tensors' : `holds no ids of experts (${listed.join('; ')})`;
  const seems = guessOf(tensors);
  const save = 'save the ids that top-k returns, integers of [tokens, layers, topk]';
  const canBeChosen = tensors.some((tensor) => isOfIntegers(tensor) && hasAxesOfIds(tensor));
  const remedy = canBeChosen ? `${save}, or take one of these with array: 'NAME'` : save;
  refuse('NOT_ROUTING', seems === null ? holds : `${holds}; it seems to be ${seems}`, { file, remedy });
}

/** What a container without ids seems to be, if its tensors tell. */
function guessOf(tensors: readonly Tensor[]): string | null {
  const areFloats = tensors.length > 0 && tensors.every(({ type }) => /^b?float/.test(type));
  if (tensors.some(({ name }) => /(^|\.)(weight|bias|running_mean)$/.test(name))) return 'the weights of a model';
  const haveOneShape = tensors.every(({ shape }) => shape.join() === tensors[0].shape.join());
  if (!areFloats || !haveOneShape || tensors[0].shape.length !== 2) return null;
  const [numTokens, numExperts] = tensors[0].shape;
  return `the logits of ${tensors.length === 1 ? 'a router' : `${tensors.length} routers`}, ${numTokens} tokens by ${numExperts} experts`;
}
