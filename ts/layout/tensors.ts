/**
 * What the rest of the library knows about tensors on a device. The tensors themselves are in `dispatch-layout/cuda`.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import type { IdType } from '../values/id-types.ts';
import type { EventOverlap } from './event-overlap.ts';
import type { OutputName } from './outputs.ts';

/** A tensor of integers in the memory of a device. */
export interface GpuTensor {
  /** The name of the device. */
  readonly device: DeviceName;
  /** The element type. */
  readonly dtype: IdType;
  /** The lengths of its dimensions. */
  readonly shape: readonly number[];
  /** For each dimension, the number of elements from one index to the next. */
  readonly strides: readonly number[];
}

/**
 * The property by which {@link isGpuTensor} recognises a tensor. It is a registered symbol, since a process may hold
 * two copies of the library.
 */
export const tensorBrand: unique symbol = Symbol.for('dispatch-layout.DeviceTensor') as never;

/** Whether a value is a tensor on a device. */
export function isGpuTensor(value: unknown): value is GpuTensor {
  return typeof value === 'object' && value !== null && tensorBrand in value;
}

/** The outputs of a computation on tensors: those that its kind has. */
export type TensorArrays = Readonly<Partial<Record<OutputName, GpuTensor | null>>>;

/** The result of a computation on tensors. */
export type TensorResult = TensorArrays & { readonly event: EventOverlap; readonly device: DeviceName };
