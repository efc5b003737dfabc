/**
 * Tensors on a device, as far as the rest of the library knows them, and layouts of them. The tensors themselves are in
 * `dispatch-layout/cuda`.
 *
 * @module
 */
import type { DeviceName } from '../errors/availability.ts';
import type { IdType } from '../values/id-types.ts';
import type { EventOverlap } from './event-overlap.ts';
import { type LayoutShape, type OutputName, outputNames } from './outputs.ts';

/** A tensor of integers in the memory of a device. */
export interface GpuTensor {
  /** The element type. */
  readonly dtype: IdType;
  /** The lengths of its dimensions. */
  readonly shape: readonly number[];
  /** Elements from one index to the next, per dimension. */
  readonly strides: readonly number[];
  /** Gives up the memory. */
  dispose(): void;
}

/** Where {@link isGpuTensor} looks. A registered symbol, since there may be two copies of the library. */
export const tensorBrand: unique symbol = Symbol.for('dispatch-layout.DeviceTensor') as never;

/** Whether a value is a tensor on a device. */
export function isGpuTensor(value: unknown): value is GpuTensor {
  return typeof value === 'object' && value !== null && tensorBrand in value;
}

/** The outputs of a layout of tensors. */
export type TensorArrays = Readonly<Record<OutputName, GpuTensor | null>>;

/** What is known of a layout of tensors besides its outputs. */
export interface TensorLayoutFacts extends LayoutShape {
  readonly event: EventOverlap;
  readonly device: DeviceName;
}

/**
 * A layout of tensors.
 *
 * @param areOurs whether the layout disposes of the tensors: those of `out` are the caller's.
 */
export function tensorLayout(
  tensors: TensorArrays,
  facts: TensorLayoutFacts,
  areOurs: boolean,
): TensorArrays & TensorLayoutFacts & Disposable {
  const { numTokens, numTopk, numExperts, numRanks, numRdmaRanks, event, device } = facts;
  return {
    ...tensors,
    numTokens,
    numTopk,
    numExperts,
    numRanks,
    numRdmaRanks,
    event,
    device,
    [Symbol.dispose]() {
      if (areOurs) for (const name of outputNames) tensors[name]?.dispose();
    },
  };
}
