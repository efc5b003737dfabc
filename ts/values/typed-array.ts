/**
 * Typed arrays of any realm, by what they are and not by what they say: the accessors here cannot be overridden.
 *
 * @module
 */

const prototype: object = Object.getPrototypeOf(Uint8Array.prototype);

function getter<Value>(key: PropertyKey): (this: unknown) => Value {
  return Object.getOwnPropertyDescriptor(prototype, key)?.get as (this: unknown) => Value;
}

const getName = getter<string | undefined>(Symbol.toStringTag);
const getLength = getter<number>('length');
const getBuffer = getter<ArrayBufferLike>('buffer');
const getByteOffset = getter<number>('byteOffset');
const getByteLength = getter<number>('byteLength');

// One function each: V8 makes an instruction or two of a getter that a function always calls

/** The class name of a typed array; `undefined` for everything else. */
export function typedArrayName(value: unknown): string | undefined {
  return getName.call(value);
}

/** Whether a value is a typed array of a class and length. Of one element or more, it is not detached then. */
export function isArrayOf(value: unknown, className: string, length: number): boolean {
  return getName.call(value) === className && getLength.call(value) === length;
}

/** Number of elements, 0 if the buffer was detached. */
export function lengthOf(array: unknown): number {
  return getLength.call(array);
}

/** The memory under a typed array. */
export function bufferOf(array: unknown): ArrayBufferLike {
  return getBuffer.call(array);
}

/** Where the array begins in its buffer. */
export function byteOffsetOf(array: unknown): number {
  return getByteOffset.call(array);
}

/** Number of bytes, 0 if the buffer was detached. */
export function byteLengthOf(array: unknown): number {
  return getByteLength.call(array);
}

const intrinsicSet: (this: ArrayBufferView, elements: ArrayBufferView, offset?: number) => void = Reflect.get(
  prototype,
  'set',
);

/** Copies all elements of one typed array to another of the same type, from its index `offset` on. */
export function setElements(target: ArrayBufferView, elements: ArrayBufferView, offset = 0): void {
  intrinsicSet.call(target, elements, offset);
}

/** Whether the memory of a typed array was transferred away. Its length is 0 then, whatever it was. */
export function isDetached(array: ArrayBufferView): boolean {
  if (byteLengthOf(array) > 0) return false;
  try {
    new Uint8Array(bufferOf(array));
    return false;
  } catch {
    return true;
  }
}

/** Whether two typed arrays have bytes in common. */
export function overlap(a: ArrayBufferView, b: ArrayBufferView): boolean {
  return (
    bufferOf(a) === bufferOf(b) &&
    byteOffsetOf(a) < byteOffsetOf(b) + byteLengthOf(b) &&
    byteOffsetOf(b) < byteOffsetOf(a) + byteLengthOf(a)
  );
}
