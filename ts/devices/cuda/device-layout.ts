/**
 * The result of `getDispatchLayout` for ids on the GPU: the same outputs, in tensors that stay there.
 *
 * @module
 */
import type { EventOverlap } from '../../layout/event-overlap.ts';
import {
  type LayoutArrays,
  type LayoutShape,
  type MaskForm,
  type OutputName,
  outputNames,
} from '../../layout/outputs.ts';
import type { DeviceTensor } from './device-tensor.ts';

/** The tensor in the place of an array. */
type TensorOf<Data> = Data extends Int32Array
  ? DeviceTensor<'int32'>
  : Data extends Uint8Array
    ? DeviceTensor<'uint8'>
    : Data;

/** The output tensors of a layout, of the shapes of {@link LayoutArrays}; to be passed as `out`, too. */
export type DeviceLayoutArrays<Mask extends MaskForm = 'bytes'> = {
  readonly [Name in OutputName]: TensorOf<LayoutArrays<Mask>[Name]>;
};

/** The same, as loops over the outputs have them: null where the layout does not have the output. */
export type OutputTensors = Readonly<Record<OutputName, DeviceTensor | null>>;

/** A layout on the GPU. Nothing was waited for: the tensors are valid in the order of the streams. */
export interface DeviceDispatchLayout<Mask extends MaskForm = 'bytes'>
  extends DeviceLayoutArrays<Mask>,
    LayoutShape,
    Disposable {
  /** The done-event; recorded only with `asyncFinish`. */
  readonly event: EventOverlap;
  /** The device that computes this layout. */
  readonly device: 'cuda';
  /** `using layout = …` disposes of the tensors on leaving the block, except for those of `out`: they are the caller's. */
  [Symbol.dispose](): void;
}

/**
 * The layout in these tensors.
 *
 * @param areNew whether the layout disposes of the tensors: those of `out` are the caller's.
 */
export function deviceLayout(
  tensors: OutputTensors,
  shape: LayoutShape,
  event: EventOverlap,
  areNew: boolean,
): DeviceDispatchLayout {
  const rest = {
    event,
    device: 'cuda',
    [Symbol.dispose]() {
      if (areNew) for (const name of outputNames) tensors[name]?.dispose();
    },
  };
  // A literal with spreads takes V8 ten times as long
  return Object.assign({}, tensors, shape, rest) as unknown as DeviceDispatchLayout;
}
