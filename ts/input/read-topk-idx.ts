/**
 * Reads `topkIdx` in each of the forms that callers may pass it in.
 *
 * @module
 */
import { checkAttached, wrongValue } from '../errors/checks.ts';
import { DispatchLayoutError } from '../errors/errors.ts';
import { describe } from '../values/describe.ts';
import { type IdTypeFacts, type IntegerArray, idArrayNames, idTypeOf, idTypes } from '../values/id-types.ts';
import { denseStrides } from '../values/shape.ts';
import { lengthOf } from '../values/typed-array.ts';
import type { EmptyId, TopkIdx } from './topk-idx.ts';

/** An ONNX Runtime tensor, such as the int64 output of a TopK. It is row-major. */
export interface TopkTensor {
  /**
   * An {@link IntegerArray}. The declaration is as wide as that of ONNX Runtime's own tensors, so this is checked at
   * run time.
   */
  readonly data: ArrayLike<unknown>;
  /**
   * `[numTokens, numTopk]`. All axes before the last are read as tokens, so `[batch, sequence, numTopk]` can be passed
   * as it is.
   */
  readonly dims: readonly number[];
  /** The element type; if it is given, it must be that of `data`. */
  readonly type?: string | undefined;
}

/** An array with a shape, as npy readers, `ndarray` and stdlib represent it. Strides and offset count elements. */
export interface TopkNdarray {
  /** The ids. The array may be longer than the shape needs only if strides or an offset are given. */
  readonly data: IntegerArray;
  /** `[numTokens, numTopk]`. All axes before the last are read as tokens, in row-major order. */
  readonly shape: readonly number[];
  /**
   * For each axis, the number of elements from one index to the next. Strides may be any integers with which all axes
   * before the last can be read as one. Default: row-major.
   */
  readonly strides?: readonly number[] | undefined;
  /** The same as `strides`, under the name that `ndarray` uses. */
  readonly stride?: readonly number[] | undefined;
  /** The index in `data` of the first element. Default 0. */
  readonly offset?: number | undefined;
  /** Whether the array is column-major, if no strides are given. Default false. */
  readonly fortranOrder?: boolean | undefined;
}

/**
 * The experts that each token selected, `[numTokens, numTopk]`; -1 in a slot without a selection. Typed arrays may come
 * from another realm, or be views of a SharedArrayBuffer. They are read in place.
 *
 * A shape may have more axes. All axes before the last are then read as one axis of tokens, without a copy, and errors
 * count tokens along that axis. Note that `[layers, numTokens, numTopk]` would be read as the tokens of a single layer:
 * pass the layers one by one. Nested arrays always have two levels.
 */
export type TopkIdxInput = TopkTensor | TopkNdarray | readonly ArrayLike<number | bigint>[];

/** A larger number of selections could overflow an int32 count. */
const maxSelections = 2 ** 31 - 1;

/** The value that an Int32Array holds in place of an integer that does not fit. It is neither an expert nor -1. */
const doesNotFit = -(2 ** 31);

/**
 * Reads `topkIdx` in any accepted form into `ids`. It reads every property of the caller's object once.
 *
 * @param emptyId the id that stands for an empty slot beside -1, if there is one.
 * @throws DispatchLayoutError `OPTION`, `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `TOO_LARGE`
 */
export function readTopkIdx(input: TopkIdxInput, ids: TopkIdx, emptyId?: number | bigint): void {
  if (Array.isArray(input)) {
    readNested(input as readonly unknown[], ids, readEmptyId(emptyId, anyInteger));
    return;
  }
  if (typeof input !== 'object' || input === null) throw unknownForm(input);
  const { data, dims, type, shape, strides, stride, offset, fortranOrder } = input as Partial<TopkTensor & TopkNdarray>;
  const lengths: unknown = dims ?? shape;
  if (data === undefined || lengths === undefined) throw unknownForm(input);

  const idType = idTypeOf(data);
  if (idType === undefined) throw notIntegers(data);
  if (dims !== undefined && type !== undefined && type !== idType.name) {
    throw new DispatchLayoutError('TOPK_TYPE', `topkIdx is a tensor of type '${type}' over ${idType.name} data`, {
      value: type,
      remedy: "Cast the router's TopK output to int64 or int32.",
    });
  }
  readShape(lengths, ids);
  const steps: unknown = strides ?? stride;
  if (steps !== undefined) readStrides(steps, ids);
  else if (fortranOrder && ids.leadingAxes !== null)
    readStrides(denseStrides([...ids.leadingAxes, ids.numTopk], true), ids);
  else ids.setDense(Boolean(fortranOrder));
  ids.offset = offset === undefined ? 0 : checkOffset(offset);
  ids.data = data as IntegerArray;
  ids.type = idType;
  if (emptyId !== ids.givenEmptyId || idType !== ids.emptyIdType) {
    ids.emptyId = readEmptyId(emptyId, idType);
    ids.givenEmptyId = emptyId;
    ids.emptyIdType = idType;
  }
  checkExtent(ids, steps === undefined && offset === undefined);
  if (ids.numTokens * ids.numTopk === 0) ids.setDense();
}

/** Nested arrays hold integers of every type, also those of a BigUint64Array. */
const anyInteger = { bytes: 9, isSigned: true };

/**
 * Reads the id that stands for an empty slot beside -1. Returns null if there is none, or if the type cannot hold it.
 *
 * @throws DispatchLayoutError `OPTION`
 */
export function readEmptyId(emptyId: unknown, { bytes, isSigned }: Pick<IdTypeFacts, 'bytes' | 'isSigned'>): EmptyId {
  if (emptyId === undefined) return null;
  if (typeof emptyId !== 'bigint' && !Number.isSafeInteger(emptyId)) {
    throw wrongValue('OPTION', 'emptyId', emptyId, 'It must be a safe integer or a bigint.');
  }
  const id = emptyId as number | bigint;
  const end = 2 ** (8 * bytes - (isSigned ? 1 : 0));
  if (id < (isSigned ? -end : 0) || id >= end) return null;
  return Number.isSafeInteger(Number(id)) ? Number(id) : id;
}

function readNested(rows: readonly unknown[], ids: TopkIdx, emptyId: EmptyId): void {
  // Every length is read only once, since getters among the elements may change it
  const numTokens = rows.length;
  const first = rows[0];
  const numTopk = numTokens > 0 ? (lengthOfRow(first) ?? 0) : 0;
  checkSelections(numTokens, numTopk);
  const data = new Int32Array(numTokens * numTopk);
  let unfit: TopkIdx['unfit'] = null;
  let isBigint: Uint8Array | null = null;
  for (let token = 0; token < numTokens; token++) {
    const row: unknown = token === 0 ? first : rows[token];
    const length = token === 0 && Array.isArray(row) ? numTopk : lengthOfRow(row);
    if (length !== numTopk) {
      throw new DispatchLayoutError(
        'TOPK_SHAPE',
        length === undefined
          ? `topkIdx[${token}] is ${describe(row)}, not an array`
          : `topkIdx[${token}] has ${length} elements, but topkIdx[0] has ${numTopk}`,
        { value: row, remedy: 'Give every token the same number of slots; fill empty ones with -1.' },
      );
    }
    for (let slot = 0; slot < numTopk; slot++) {
      const id: unknown = (row as ArrayLike<unknown>)[slot];
      if (typeof id !== 'bigint' && !Number.isInteger(id)) {
        throw new DispatchLayoutError('TOPK_TYPE', `topkIdx[${token}][${slot}] is ${describe(id)}, not an integer`, {
          value: id,
          remedy: 'Expert ids are integers; -1 stands for an empty slot.',
        });
      }
      const index = token * numTopk + slot;
      const isEmpty = typeof emptyId === 'bigint' ? BigInt(id as number | bigint) === emptyId : Number(id) === emptyId;
      // The data are a copy, so the empty id can be replaced by -1 at once
      const value = isEmpty ? -1 : Number(id);
      const fits = value === (value | 0);
      data[index] = fits ? value : doesNotFit;
      if (!fits) unfit ??= { index, value: id as number | bigint };
      if (typeof id === 'bigint') {
        isBigint ??= new Uint8Array(data.length);
        isBigint[index] = 1;
      }
    }
  }
  ids.data = data;
  ids.type = idTypes.int32;
  ids.numTokens = numTokens;
  ids.numTopk = numTopk;
  ids.leadingAxes = null;
  ids.emptyId = null;
  ids.emptyIdType = undefined;
  ids.unfit = unfit;
  ids.isBigint = isBigint;
  ids.setDense();
}

/** The length of a row of nested arrays, which may be a typed array of integers; `undefined` for anything else. */
function lengthOfRow(row: unknown): number | undefined {
  if (Array.isArray(row)) return row.length;
  return idTypeOf(row) === undefined ? undefined : lengthOf(row);
}

function notIntegers(data: unknown): DispatchLayoutError {
  return new DispatchLayoutError(
    'TOPK_TYPE',
    `the data of topkIdx are ${describe(data)}, not integers in a typed array`,
    { value: data, remedy: `Convert them to one of ${idArrayNames}.` },
  );
}

/** What is read from a shape. */
type Axes = Pick<TopkIdx, 'numTokens' | 'numTopk' | 'leadingAxes'>;

/**
 * Reads `[numTokens, numTopk]`. Where there are more axes, all but the last are read as tokens, in row-major order.
 *
 * @throws DispatchLayoutError `TOPK_SHAPE`, `TOO_LARGE`
 */
export function readShape(shape: unknown, ids: Axes): void {
  let { length, 0: numTokens, 1: numTopk } = Object(shape) as { length: number; 0: number; 1: number };
  ids.leadingAxes = null;
  if (length > 2 && length <= maxAxes) {
    const axes = Array.from(shape as ArrayLike<number>);
    numTopk = axes.pop() as number;
    numTokens = axes.reduce((product, axis) => (Number.isInteger(axis) && axis >= 0 ? product * axis : Number.NaN), 1);
    ids.leadingAxes = axes;
    length = 2;
  }
  if (!isPair(length, numTokens, numTopk) || numTokens < 0 || numTopk < 0) {
    const remedy = 'It must be [numTokens, numTopk], both 0 or more; axes in front of these are read as tokens, too.';
    throw wrongValue('TOPK_SHAPE', 'the shape of topkIdx', shape, remedy);
  }
  ids.numTokens = numTokens;
  ids.numTopk = numTopk;
  checkSelections(numTokens, numTopk);
}

/** The largest number of axes that is accepted, which is more than anybody needs. */
const maxAxes = 64;

/**
 * Reads the strides of the axes that {@link readShape} has read.
 *
 * @throws DispatchLayoutError `TOPK_SHAPE`
 */
export function readStrides(strides: unknown, ids: Axes & Pick<TopkIdx, 'tokenStride' | 'slotStride'>): void {
  let { length, 0: tokenStride, 1: slotStride } = Object(strides) as { length: number; 0: number; 1: number };
  const { leadingAxes } = ids;
  if (leadingAxes !== null) {
    const steps = length === leadingAxes.length + 1 ? Array.from(strides as ArrayLike<number>) : [];
    length = steps.every(Number.isSafeInteger) ? 2 : 0;
    slotStride = steps.pop() as number;
    tokenStride = strideOfTokens(leadingAxes, steps);
  }
  if (!isPair(length, tokenStride, slotStride)) {
    const remedy =
      'It must have an integer for each axis, and let all axes but the last be read as one; else copy the data.';
    throw wrongValue('TOPK_SHAPE', 'topkIdx.strides', strides, remedy);
  }
  ids.tokenStride = tokenStride;
  ids.slotStride = slotStride;
}

/** The stride of several axes that are read as one, in row-major order; NaN if they cannot be read as one. */
function strideOfTokens(axes: readonly number[], strides: readonly number[]): number {
  let stride = 0;
  // The stride that the next axis to the left must have
  let next: number | undefined;
  for (let axis = axes.length - 1; axis >= 0; axis--) {
    if (axes[axis] === 1) continue;
    if (next === undefined) stride = strides[axis];
    else if (strides[axis] !== next) return axes.includes(0) ? 0 : Number.NaN;
    next = strides[axis] * axes[axis];
  }
  return stride;
}

function isPair(length: unknown, first: unknown, second: unknown): boolean {
  return length === 2 && Number.isSafeInteger(first) && Number.isSafeInteger(second);
}

/**
 * Checks that no int32 count can overflow.
 *
 * @throws DispatchLayoutError `TOO_LARGE`
 */
export function checkSelections(numTokens: number, numTopk: number): void {
  if (numTokens * numTopk > maxSelections) {
    throw new DispatchLayoutError('TOO_LARGE', `topkIdx has ${numTokens} x ${numTopk} selections`, {
      value: numTokens * numTopk,
      remedy: `int32 counts hold at most ${maxSelections}: split the tokens and add up the counts.`,
    });
  }
}

function checkOffset(offset: unknown): number {
  if (!Number.isSafeInteger(offset)) {
    throw wrongValue('TOPK_SHAPE', 'the offset of topkIdx', offset, 'It counts elements from the start of data.');
  }
  return offset as number;
}

/**
 * Checks that the data were not detached, and that they cover the shape.
 *
 * @param isWhole whether the data must have exactly as many elements as the shape.
 * @throws DispatchLayoutError `DETACHED_BUFFER`, `TOPK_SHAPE`
 */
export function checkExtent(ids: TopkIdx, isWhole: boolean): void {
  const { data, numTokens, numTopk, offset, tokenStride, slotStride } = ids;
  const numSelections = numTokens * numTopk;
  if (isWhole && numSelections > 0 && lengthOf(data) === numSelections) return;
  checkAttached(data, 'topkIdx');
  if (isWhole ? lengthOf(data) === numSelections : numSelections === 0) return;
  const tokenReach = (numTokens - 1) * tokenStride;
  const slotReach = (numTopk - 1) * slotStride;
  const first = offset + Math.min(tokenReach, 0) + Math.min(slotReach, 0);
  const last = offset + Math.max(tokenReach, 0) + Math.max(slotReach, 0);
  if (isWhole || first < 0 || last >= lengthOf(data)) {
    const needs = isWhole ? `${numSelections} elements` : `elements ${first} to ${last}`;
    throw new DispatchLayoutError(
      'TOPK_SHAPE',
      `topkIdx of shape [${numTokens}, ${numTopk}] needs ${needs}, but its data have ${lengthOf(data)}`,
      {
        value: lengthOf(data),
        remedy: 'Correct the shape, or give strides and offset (in elements) of a larger array.',
      },
    );
  }
}

function unknownForm(input: unknown): DispatchLayoutError {
  const remedy = 'Pass {data, shape: [numTokens, numTopk]}, an ONNX Runtime tensor, or nested arrays of numbers.';
  return wrongValue('TOPK_TYPE', 'topkIdx', input, remedy);
}
