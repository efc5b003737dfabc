/**
 * What a typed array of any realm really is. These functions call the intrinsic getters, so that an object cannot
 * pretend to be a typed array, and a typed array cannot hide its properties by overriding them.
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

// Each getter has a function of its own, since V8 compiles a getter that is always called from one place to an
// instruction or two

/** The class name of a typed array; `undefined` for everything else. */
export function typedArrayName(value: unknown): string | undefined {
  return getName.call(value);
}

/**
 * Whether a value is a typed array of this class and length. A typed array of one element or more is then not detached.
 */
export function isArrayOf(value: unknown, className: string, length: number): boolean {
  return getName.call(value) === className && getLength.call(value) === length;
}

/** The number of elements; 0 if the buffer was detached. */
export function lengthOf(array: unknown): number {
  return getLength.call(array);
}

/** The buffer that a typed array is a view of. */
export function bufferOf(array: unknown): ArrayBufferLike {
  return getBuffer.call(array);
}

/** The byte of its buffer at which the array begins. */
export function byteOffsetOf(array: unknown): number {
  return getByteOffset.call(array);
}

/** The number of bytes; 0 if the buffer was detached. */
export function byteLengthOf(array: unknown): number {
  return getByteLength.call(array);
}

const intrinsicSet: (this: ArrayBufferView, elements: ArrayBufferView, offset?: number) => void = Reflect.get(
  prototype,
  'set',
);

/** Copies all elements of one typed array into another of the same type, from index `offset` of the target on. */
export function setElements(target: ArrayBufferView, elements: ArrayBufferView, offset = 0): void {
  intrinsicSet.call(target, elements, offset);
}

/**
 * Whether the buffer of a typed array was detached, that is, transferred away. The array has length 0 then, whatever
 * its length was.
 */
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
