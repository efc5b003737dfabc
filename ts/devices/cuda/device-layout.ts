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
import type { IdCheck } from './id-check.ts';

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

/** A layout that is in these tensors. */
export class ComputedDeviceLayout implements Record<OutputName, DeviceTensor | null>, LayoutShape, Disposable {
  readonly numTokensPerRank: DeviceTensor | null;
  readonly numTokensPerRdmaRank: DeviceTensor | null;
  readonly numTokensPerExpert: DeviceTensor | null;
  readonly isTokenInRank: DeviceTensor | null;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly numRdmaRanks: number;
  readonly event: EventOverlap;
  readonly device: DeviceName;
  readonly #areNew: boolean;

  /**
   * @param areNew whether the layout is to dispose of the tensors. It must not if they are those of `out`, which are the
   *   caller's.
   */
  constructor(tensors: OutputTensors, shape: LayoutShape, event: EventOverlap, device: DeviceName, areNew: boolean) {
    // The names are in the source because a loop over them would take V8 ten times as long
    this.numTokensPerRank = tensors.numTokensPerRank;
    this.numTokensPerRdmaRank = tensors.numTokensPerRdmaRank;
    this.numTokensPerExpert = tensors.numTokensPerExpert;
    this.isTokenInRank = tensors.isTokenInRank;
    this.numTokens = shape.numTokens;
    this.numTopk = shape.numTopk;
    this.numExperts = shape.numExperts;
    this.numRanks = shape.numRanks;
    this.numRdmaRanks = shape.numRdmaRanks;
    this.event = event;
    this.device = device;
    this.#areNew = areNew;
  }

  /** Makes known which check tells whether the ids of these tensors' layout were valid. */
  writtenBy(check: IdCheck | undefined): void {
    this.numTokensPerRank?.writtenBy(check);
    this.numTokensPerRdmaRank?.writtenBy(check);
    this.numTokensPerExpert?.writtenBy(check);
    this.isTokenInRank?.writtenBy(check);
  }

  [Symbol.dispose](): void {
    if (!this.#areNew) return;
    for (const name of outputNames) this[name]?.dispose();
  }
}
