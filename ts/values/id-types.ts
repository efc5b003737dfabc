/**
 * The one table of the integer types that expert ids can have.
 *
 * @module
 */
import { typedArrayName } from './typed-array.ts';

/** What the library knows of an id type. */
export interface IdTypeFacts {
  readonly name: IdType;
  /** The class of its typed array. */
  readonly array: IntegerArrayClass;
  /** Its value in the enumeration `IdType` of both kernels. */
  readonly code: number;
  /** Bytes of one element. */
  readonly bytes: number;
  readonly isSigned: boolean;
}

interface IntegerArrayClass {
  readonly name: string;
  readonly BYTES_PER_ELEMENT: number;
  new (length: number): IntegerArray;
  new (buffer: ArrayBuffer, byteOffset: number, length: number): IntegerArray;
}

function factsOf(name: IdType, array: IntegerArrayClass, code: number): IdTypeFacts {
  return { name, array, code, bytes: array.BYTES_PER_ELEMENT, isSigned: name.startsWith('i') };
}

/** The table. */
export const idTypes: Readonly<Record<IdType, IdTypeFacts>> = {
  int64: factsOf('int64', BigInt64Array, 0),
  uint64: factsOf('uint64', BigUint64Array, 1),
  int32: factsOf('int32', Int32Array, 2),
  uint32: factsOf('uint32', Uint32Array, 3),
  int16: factsOf('int16', Int16Array, 4),
  uint16: factsOf('uint16', Uint16Array, 5),
  int8: factsOf('int8', Int8Array, 6),
  uint8: factsOf('uint8', Uint8Array, 7),
};

/** The element type of an {@link IntegerArray}, under the name that it has in ONNX and numpy. */
export type IdType = keyof TypedArrayOf;

/** The class of typed array that holds elements of each type. */
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

/** The class names of the typed arrays that can hold ids, for messages. */
export const idArrayNames: string = Object.keys(factsByArrayName).join(', ');

/** The id type of a typed array of any realm; undefined for everything else. */
export function idTypeOf(value: unknown): IdTypeFacts | undefined {
  const name = typedArrayName(value);
  return name === undefined ? undefined : factsByArrayName[name];
}

/** Whether a value is the name of an id type. */
export function isIdType(value: unknown): value is IdType {
  return idTypeNames.includes(value as IdType);
}

/** A typed array over `length` elements of existing memory, shared or not. */
export function arrayOver(type: IdType, buffer: ArrayBufferLike, byteOffset: number, length: number): IntegerArray {
  // TypeScript's declarations tell ArrayBuffer and SharedArrayBuffer apart; the constructors do not
  return new idTypes[type].array(buffer as ArrayBuffer, byteOffset, length);
}
