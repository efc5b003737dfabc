/**
 * Named tensors, as safetensors and `.pt` files have them: which of them can be ids, and what the others seem to be.
 *
 * @module
 */
import { type IdType, idTypes } from '../../values/id-types.ts';
import type { ByteSource } from '../byte-source.ts';
import type { ArrayContents, FormatName, OtherArray, StoredArray } from '../contents.ts';
import { otherPurpose, withPurpose } from '../other-purpose.ts';
import type { ReadOptions } from '../read-options.ts';
import { refuse } from '../routing-error.ts';
import { nothingKnown } from './npy.ts';

/** A tensor that lies in a file. */
export interface Tensor {
  /** Its name, or the path of keys to it. */
  readonly name: string;
  /** The type of its elements, as PyTorch names it, such as `int32` or `bfloat16`. */
  readonly type: string;
  readonly littleEndian: boolean;
  readonly shape: readonly number[];
  /** For each dimension, how many elements apart neighbours are. */
  readonly strides: readonly number[];
  readonly source: ByteSource;
  /** The byte of `source` at which the element of index 0 begins. */
  readonly position: number;
}

/** Whether a tensor has integers that can be ids. */
export function isOfIntegers(tensor: Tensor): boolean {
  return Object.hasOwn(idTypes, tensor.type);
}

/** A tensor of integers as an array of ids or counts. */
export function asStoredArray(tensor: Tensor): StoredArray {
  const { name, type, littleEndian, shape, strides, source, position } = tensor;
  return { name, idType: type as IdType, littleEndian, shape, strides, source, position };
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
  const arrays: StoredArray[] = [];
  const others: OtherArray[] = [];
  let canBeChosen = false;
  for (const tensor of tensors) {
    const { name, shape } = tensor;
    const purpose = name === options.array ? undefined : otherPurpose(name);
    const canBeIds = isOfIntegers(tensor) && shape.length >= 2 && shape.length <= 4;
    if (canBeIds && purpose === undefined) arrays.push(asStoredArray(tensor));
    else {
      canBeChosen ||= canBeIds;
      others.push({ name, what: withPurpose(describedTensor(tensor), purpose) });
    }
  }
  if (arrays.length === 0) failWithoutIds(tensors, others, canBeChosen, file);
  return { kind: 'arrays', arrays, others, format, ...nothingKnown };
}

function failWithoutIds(
  tensors: readonly Tensor[],
  others: readonly OtherArray[],
  canBeChosen: boolean,
  file: string,
): never {
  const listed = others.slice(0, 6).map(({ name, what }) => (name === '' ? what : `${name}: ${what}`));
  if (others.length > listed.length) listed.push('…');
  const holds = others.length === 0 ? 'holds no tensors' : `holds no ids of experts (${listed.join('; ')})`;
  const seems = guessOf(tensors);
  const save = 'save the ids that top-k returns, integers of [tokens, layers, topk]';
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
