/**
 * An independent writer of `.npy` files that can use every variant of the format.
 *
 * @module
 */

/** How to write an array. */
export interface NpyForm {
  /** The number of bytes of one element: 1, 2, 4 or 8. */
  readonly size: number;
  readonly signed: boolean;
  readonly bigEndian: boolean;
  readonly fortranOrder: boolean;
  readonly version: 1 | 2 | 3;
  /** The number of spaces that pad the header. Numpy pads it to a multiple of 64 bytes. */
  readonly padding: number;
}

export const plainForm: NpyForm = {
  size: 8,
  signed: true,
  bigEndian: false,
  fortranOrder: false,
  version: 1,
  padding: 0,
};

/** The position of an element of a dense array in the file. */
function flatIndex(index: readonly number[], shape: readonly number[], fortranOrder: boolean): number {
  const dimensions = shape.map((_, dimension) => dimension);
  if (fortranOrder) dimensions.reverse();
  return dimensions.reduce((flat, dimension) => flat * shape[dimension] + index[dimension], 0);
}

/** Every index of an array, in C order. */
export function* indices(shape: readonly number[]): Generator<number[]> {
  const count = shape.reduce((product, length) => product * length, 1);
  for (let flat = 0; flat < count; flat++) {
    let rest = flat;
    const index = new Array<number>(shape.length);
    for (let dimension = shape.length - 1; dimension >= 0; dimension--) {
      index[dimension] = rest % shape[dimension];
      rest = Math.floor(rest / shape[dimension]);
    }
    yield index;
  }
}

/** The header dict in Python's spelling. */
export function headerText(form: NpyForm, shape: readonly number[]): string {
  const order = form.size === 1 ? '|' : form.bigEndian ? '>' : '<';
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const descr = `'${order}${form.signed ? 'i' : 'u'}${form.size}'`;
  return `{'descr': ${descr}, 'fortran_order': ${form.fortranOrder ? 'True' : 'False'}, 'shape': ${tuple}, }`;
}

/** A file with this header text and these data. */
export function npyFile(header: string, data: Uint8Array, version: number = 1): Buffer {
  const text = Buffer.from(`${header}\n`, 'latin1');
  const length = Buffer.alloc(version === 1 ? 2 : 4);
  if (version === 1) length.writeUInt16LE(text.length);
  else length.writeUInt32LE(text.length);
  return Buffer.concat([Buffer.from('\x93NUMPY', 'latin1'), Buffer.from([version, 0]), length, text, data]);
}

/** @param values the elements in C order. */
export function writeNpy(values: readonly bigint[], shape: readonly number[], form: NpyForm = plainForm): Buffer {
  const data = Buffer.alloc(values.length * form.size);
  let position = 0;
  for (const index of indices(shape)) {
    const at = flatIndex(index, shape, form.fortranOrder) * form.size;
    let rest = BigInt.asUintN(8 * form.size, values[position++]);
    for (let byte = 0; byte < form.size; byte++) {
      data[at + (form.bigEndian ? form.size - 1 - byte : byte)] = Number(rest & 255n);
      rest >>= 8n;
    }
  }
  return npyFile(headerText(form, shape) + ' '.repeat(form.padding), data, form.version);
}

/** Rows, or layers of rows, as an `.npy` file. */
export function npyOf(nested: readonly (readonly number[])[] | readonly (readonly (readonly number[])[])[]): Buffer {
  const shape: number[] = [];
  for (let level: unknown = nested; Array.isArray(level); level = level[0]) shape.push(level.length);
  return writeNpy(
    (nested as readonly unknown[]).flat(2).map((id) => BigInt(id as number)),
    shape,
  );
}
