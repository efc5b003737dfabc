/**
 * The result of `getDispatchLayout` for ids on the GPU: the same outputs, in tensors that stay there.
 *
 * @module
 */
import type { DeviceName } from '../../errors/availability.ts';
import type { EventOverlap } from '../../layout/event-overlap.ts';
import {
  type LayoutArrays,
  type LayoutShape,
  type MaskForm,
  type OutputName,
  outputNames,
} from '../../layout/outputs.ts';
import type { DeviceTensor } from './device-tensor.ts';

/** The type of the tensor that takes the place of an array. */
type TensorOf<Data> = Data extends Int32Array
  ? DeviceTensor<'int32'>
  : Data extends Uint8Array
    ? DeviceTensor<'uint8'>
    : Data;

/** The output tensors of a layout, with the shapes of {@link LayoutArrays}. They can be passed as `out`, too. */
export type DeviceLayoutArrays<Mask extends MaskForm = 'bytes'> = {
  readonly [Name in keyof LayoutArrays<Mask>]: TensorOf<LayoutArrays<Mask>[Name]>;
};

/** The same tensors, in the form that loops over the outputs use; null if the layout does not have the output. */
export type OutputTensors = Readonly<Record<OutputName, DeviceTensor | null>>;

/**
 * A layout on the GPU. Nothing was waited for: the tensors are valid for work that the streams order after the layout.
 */
export interface DeviceDispatchLayout<Mask extends MaskForm = 'bytes'>
  extends DeviceLayoutArrays<Mask>,
    LayoutShape,
    Disposable {
  /** The done-event, which is recorded only with `asyncFinish`. */
  readonly event: EventOverlap;
  /** The GPU that computes this layout: `cuda` for the first one, such as `cuda:1` for another one. */
  readonly device: DeviceName;
  /**
   * Disposes of the tensors, except for those of `out`, which are the caller's. `using layout = …` does so when the
   * block is left.
   */
  [Symbol.dispose](): void;
}

/**
 * Makes the layout that is in these tensors.
 *
 * @param areNew whether the layout is to dispose of the tensors. It must not if they are those of `out`, which are the
 *   caller's.
 */
export function deviceLayout(
  tensors: OutputTensors,
  shape: LayoutShape,
  event: EventOverlap,
  device: DeviceName,
  areNew: boolean,
): DeviceDispatchLayout {
  const rest = {
    event,
    device,
    [Symbol.dispose]() {
      if (areNew) for (const name of outputNames) tensors[name]?.dispose();
    },
  };
  // An object literal with spreads takes V8 ten times as long
  return Object.assign({}, tensors, shape, rest) as unknown as DeviceDispatchLayout;
}
