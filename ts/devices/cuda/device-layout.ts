/**
 * The results for ids on the GPU: the same outputs, in tensors that stay there.
 *
 * @module
 */
import type { DeviceName } from '../../errors/availability.ts';
import type { EventOverlap } from '../../layout/event-overlap.ts';
import type { ExpertPermutationShape } from '../../layout/expert-permutation.ts';
import type {
  ExpertOrder,
  ExpertPermutationArrays,
  LayoutArrays,
  LayoutShape,
  MaskForm,
  OutputName,
  OutputShape,
  RankOrder,
  RankPermutationArrays,
} from '../../layout/outputs.ts';
import type { RankPermutationShape } from '../../layout/rank-permutation.ts';
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

/** The output tensors of an order by expert, with the shapes of {@link ExpertPermutationArrays}. */
export type DeviceExpertPermutationArrays = {
  readonly [Name in keyof ExpertPermutationArrays]: DeviceTensor<'int32'>;
};

/** The output tensors of an order by rank, with the shapes of {@link RankPermutationArrays}. */
export type DeviceRankPermutationArrays = {
  readonly [Name in keyof RankPermutationArrays]: DeviceTensor<'int32'>;
};

/** The same tensors, in the form that loops over the outputs use; null if the computation does not have the output. */
export type OutputTensors = Readonly<Record<OutputName, DeviceTensor | null>>;

/** What all results on the GPU have beside their tensors. */
interface ResultOnDevice extends Disposable {
  /** The done-event, which is recorded only with `asyncFinish`. */
  readonly event: EventOverlap;
  /** The GPU that computes: `cuda` for the first one, such as `cuda:1` for another one. */
  readonly device: DeviceName;
  /**
   * Disposes of the tensors, except for those of `out`, which are the caller's. `using layout = …` does so when the
   * block is left.
   */
  [Symbol.dispose](): void;
}

/**
 * A layout on the GPU. Nothing was waited for: the tensors are valid for work that the streams order after the layout.
 */
export interface DeviceDispatchLayout<Mask extends MaskForm = 'bytes'>
  extends DeviceLayoutArrays<Mask>,
    LayoutShape,
    ResultOnDevice {}

/** An order by expert on the GPU. Nothing was waited for. */
export interface DeviceExpertPermutation extends DeviceExpertPermutationArrays, ExpertPermutationShape, ResultOnDevice {
  /** The number of rows is known on the GPU only: it is the last of `expertOffsets`. */
  readonly numRows: null;
}

/** An order by rank on the GPU. Nothing was waited for. */
export interface DeviceRankPermutation extends DeviceRankPermutationArrays, RankPermutationShape, ResultOnDevice {
  /** The number of rows is known on the GPU only: it is the last of `rankOffsets`. */
  readonly numRows: null;
}

/** A result that is in these tensors. */
export abstract class ComputedOnDevice implements ResultOnDevice {
  abstract readonly numTokens: number;
  abstract readonly event: EventOverlap;
  abstract readonly device: DeviceName;
  readonly #tensors: OutputTensors;
  readonly #areNew: boolean;

  /**
   * @param areNew whether the result is to dispose of the tensors. It must not if they are those of `out`, which are the
   *   caller's.
   */
  constructor(tensors: OutputTensors, areNew: boolean) {
    this.#tensors = tensors;
    this.#areNew = areNew;
  }

  /** The tensors by the names of all outputs. */
  get tensors(): OutputTensors {
    return this.#tensors;
  }

  /** Makes known which check tells whether the ids of these tensors' computation were valid. */
  writtenBy(check: IdCheck | undefined): void {
    // The names are in the source because a loop over them would take V8 ten times as long
    const tensors = this.#tensors;
    tensors.numTokensPerRank?.writtenBy(check);
    tensors.numTokensPerRdmaRank?.writtenBy(check);
    tensors.numTokensPerExpert?.writtenBy(check);
    tensors.isTokenInRank?.writtenBy(check);
    tensors.expertOffsets?.writtenBy(check);
    tensors.selectionOfRow?.writtenBy(check);
    tensors.rankOffsets?.writtenBy(check);
    tensors.tokenOfRow?.writtenBy(check);
    tensors.rowOfSelection?.writtenBy(check);
  }

  [Symbol.dispose](): void {
    if (!this.#areNew) return;
    for (const tensor of Object.values(this.#tensors)) tensor?.dispose();
  }
}

class ComputedDeviceLayout extends ComputedOnDevice implements LayoutShape {
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

  constructor(tensors: OutputTensors, shape: OutputShape, event: EventOverlap, device: DeviceName, areNew: boolean) {
    super(tensors, areNew);
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
  }
}

class ComputedDeviceExpertPermutation extends ComputedOnDevice implements ExpertPermutationShape {
  readonly numTokensPerExpert: DeviceTensor | null;
  readonly expertOffsets: DeviceTensor | null;
  readonly selectionOfRow: DeviceTensor | null;
  readonly rowOfSelection: DeviceTensor | null;
  readonly numRows = null;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly firstExpert: number;
  readonly numLocalExperts: number;
  readonly alignment: number;
  readonly event: EventOverlap;
  readonly device: DeviceName;

  constructor(tensors: OutputTensors, shape: OutputShape, event: EventOverlap, device: DeviceName, areNew: boolean) {
    super(tensors, areNew);
    const order = shape.computation as ExpertOrder;
    this.numTokensPerExpert = tensors.numTokensPerExpert;
    this.expertOffsets = tensors.expertOffsets;
    this.selectionOfRow = tensors.selectionOfRow;
    this.rowOfSelection = tensors.rowOfSelection;
    this.numTokens = shape.numTokens;
    this.numTopk = shape.numTopk;
    this.numExperts = shape.numExperts;
    this.firstExpert = order.firstExpert;
    this.numLocalExperts = order.numLocalExperts;
    this.alignment = order.alignment;
    this.event = event;
    this.device = device;
  }
}

class ComputedDeviceRankPermutation extends ComputedOnDevice implements RankPermutationShape {
  readonly numTokensPerRank: DeviceTensor | null;
  readonly rankOffsets: DeviceTensor | null;
  readonly tokenOfRow: DeviceTensor | null;
  readonly rowOfSelection: DeviceTensor | null;
  readonly numRows = null;
  readonly numTokens: number;
  readonly numTopk: number;
  readonly numExperts: number;
  readonly numRanks: number;
  readonly winner: 'first' | 'last';
  readonly event: EventOverlap;
  readonly device: DeviceName;

  constructor(tensors: OutputTensors, shape: OutputShape, event: EventOverlap, device: DeviceName, areNew: boolean) {
    super(tensors, areNew);
    this.numTokensPerRank = tensors.numTokensPerRank;
    this.rankOffsets = tensors.rankOffsets;
    this.tokenOfRow = tensors.tokenOfRow;
    this.rowOfSelection = tensors.rowOfSelection;
    this.numTokens = shape.numTokens;
    this.numTopk = shape.numTopk;
    this.numExperts = shape.numExperts;
    this.numRanks = shape.numRanks;
    this.winner = (shape.computation as RankOrder).winner;
    this.event = event;
    this.device = device;
  }
}

const resultClasses = {
  layout: ComputedDeviceLayout,
  byExpert: ComputedDeviceExpertPermutation,
  byRank: ComputedDeviceRankPermutation,
};

/** Makes the result that is in these tensors: see {@link ComputedOnDevice}. */
export function resultIn(
  tensors: OutputTensors,
  shape: OutputShape,
  event: EventOverlap,
  device: DeviceName,
  areNew: boolean,
): ComputedOnDevice {
  return new resultClasses[shape.computation.kind](tensors, shape, event, device, areNew);
}
