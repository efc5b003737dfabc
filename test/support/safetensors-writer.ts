/**
 * A writer of safetensors files, sound and broken ones.
 *
 * @module
 */

/** A tensor to write: its type in the words of the format, its shape, and its data. */
export interface TensorToWrite {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** A file with this header and these data. */
export function safetensorsFile(header: string | Uint8Array, data: Uint8Array = new Uint8Array(0)): Buffer {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

/** A file with these tensors, one after the other. */
export function writeSafetensors(tensors: Readonly<Record<string, TensorToWrite>>, metadata?: object): Buffer {
  let end = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape, data }]) => {
    const start = end;
    end += data.length;
    return [name, { dtype, shape, data_offsets: [start, end] }] as const;
  });
  const header = { ...(metadata === undefined ? {} : { __metadata__: metadata }), ...Object.fromEntries(entries) };
  return safetensorsFile(JSON.stringify(header), Buffer.concat(Object.values(tensors).map(({ data }) => data)));
}

/** A tensor of int32. */
export function int32Tensor(values: readonly number[], shape: readonly number[]): TensorToWrite {
  return { dtype: 'I32', shape, data: new Uint8Array(Int32Array.from(values).buffer) };
}

/** A tensor of int64. */
export function int64Tensor(values: readonly number[], shape: readonly number[]): TensorToWrite {
  return { dtype: 'I64', shape, data: new Uint8Array(BigInt64Array.from(values, BigInt).buffer) };
}
