/**
 * Buffers that change their size or are detached.
 *
 * @module
 */

// The ES2022 types of TypeScript do not have the options of the constructors.
const Resizable = ArrayBuffer as unknown as new (
  bytes: number,
  options: { readonly maxByteLength: number },
) => ArrayBuffer & { resize(bytes: number): void };
const Growable = SharedArrayBuffer as unknown as new (
  bytes: number,
  options: { readonly maxByteLength: number },
) => SharedArrayBuffer;

/** A buffer that `resize` can make longer or shorter. */
export const resizableBuffer = (bytes: number, maxByteLength: number) => new Resizable(bytes, { maxByteLength });

/** Shared memory that can become longer. */
export const growableBuffer = (bytes: number, maxByteLength: number) => new Growable(bytes, { maxByteLength });

/** Transfers the buffer of an array away. Returns the array, which is now detached. */
export function detached<View extends ArrayBufferView>(view: View): View {
  structuredClone(0, { transfer: [view.buffer as ArrayBuffer] });
  return view;
}
