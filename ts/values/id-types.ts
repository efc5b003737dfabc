/**
 * The integer types that expert ids can have: the one table of them.
 *
 * @module
 */
import { typedArrayName } from './typed-array.ts';

/**
 * By the names that ONNX and numpy have for them: the typed array, the value in the kernels' `IdType`, the bytes of an
 * element, and whether it has a sign.
 */
export const idTypes = {
  int64: { name: 'int64', array: BigInt64Array, code: 0, bytes: 8, isSigned: true },
  uint64: { name: 'uint64', array: BigUint64Array, code: 1, bytes: 8, isSigned: false },
  int32: { name: 'int32', array: Int32Array, code: 2, bytes: 4, isSigned: true },
  uint32: { name: 'uint32', array: Uint32Array, code: 3, bytes: 4, isSigned: false },
  int16: { name: 'int16', array: Int16Array, code: 4, bytes: 2, isSigned: true },
  uint16: { name: 'uint16', array: Uint16Array, code: 5, bytes: 2, isSigned: false },
  int8: { name: 'int8', array: Int8Array, code: 6, bytes: 1, isSigned: true },
  uint8: { name: 'uint8', array: Uint8Array, code: 7, bytes: 1, isSigned: false },
} as const;

/** A line of the table. */
export type IdTypeFacts = (typeof idTypes)[IdType];

/** The element type of an {@link IntegerArray}, as ONNX and numpy name it. */
export type IdType = keyof typeof idTypes;

/** The typed array that holds elements of a type. */
export interface TypedArrayOf {
  /** The array of `int64`. */
  readonly int64: BigInt64Array;
  /** The array of `uint64`. */
  readonly uint64: BigUint64Array;
  /** The array of `int32`. */
  readonly int32: Int32Array;
  /** The array of `uint32`. */
  readonly uint32: Uint32Array;
  /** The array of `int16`. */
  readonly int16: Int16Array;
  /** The array of `uint16`. */
  readonly uint16: Uint16Array;
  /** The array of `int8`. */
  readonly int8: Int8Array;
  /** The array of `uint8`. */
  readonly uint8: Uint8Array;
}

/** The integer typed arrays that can hold expert ids. */
export type IntegerArray = TypedArrayOf[IdType];

/** The names of all types. */
export const idTypeNames = Object.keys(idTypes) as readonly IdType[];

const factsByArrayName: Readonly<Record<string, IdTypeFacts>> = Object.fromEntries(
  idTypeNames.map((type) => [idTypes[type].array.name, idTypes[type]]),
);

/** The names of the typed arrays that can hold ids, for messages. */
export const idArrayNames: string = Object.keys(factsByArrayName).join(', ');

/** The type of a typed array of any realm; undefined for everything else. */
export function idTypeOf(value: unknown): IdTypeFacts | undefined {
  const name = typedArrayName(value);
  return name === undefined ? undefined : factsByArrayName[name];
}

/** Whether a value is the name of an id type. */
export function isIdType(value: unknown): value is IdType {
  return idTypeNames.includes(value as IdType);
}

/** Elements of a type in memory of any kind. */
export function arrayOver(type: IdType, buffer: ArrayBufferLike, byteOffset: number, length: number): IntegerArray {
  const View: new (buffer: ArrayBuffer, byteOffset: number, length: number) => IntegerArray = idTypes[type].array;
  // The declarations tell ArrayBuffer and SharedArrayBuffer apart, the constructors do not
  return new View(buffer as ArrayBuffer, byteOffset, length);
}
