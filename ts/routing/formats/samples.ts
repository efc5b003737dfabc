/**
 * The routing of samples of a rollout, kept for the training that follows: slime, miles, verl, NeMo-RL and xtuner have a
 * tensor of `[tokens, layers, topk]` for each sample, or one of `[samples, tokens, layers, topk]`.
 *
 * @module
 */

import { counted } from '../../values/grouped.ts';
import { sizeOf } from '../../values/shape.ts';
import { type ArrayPart, gridOfArrays } from '../array-grid.ts';
import type { FormatName, IdContents, IdGrid, StoredArray } from '../contents.ts';
import { refuse } from '../routing-error.ts';
import { noteOfPadding, type PaddingMask, withoutPadding } from '../without-padding.ts';
import { nothingKnown } from './npy.ts';
import { describedTensor, isOfIntegers, type Tensor } from './tensors.ts';

/** What is known of the file. */
interface SamplesFile {
  readonly file: string;
  readonly format: FormatName;
  readonly producer: string | null;
}

/** The routing of a sample, or of a batch of samples. */
export interface Sample {
  readonly ids: Tensor;
  /** The `attention_mask` beside it, `[tokens]` or `[samples, tokens]`: 0 for each token that is padding. */
  readonly mask?: Tensor | undefined;
}

/**
 * The routing of all samples, one after the other, without padding.
 *
 * @param samples those that have routing, in their order.
 * @throws {@link RoutingError} `NOT_ROUTING` if no sample has routing, `DAMAGED` if the samples do not fit together
 */
export async function contentsOfSamples(
  samples: readonly Sample[],
  { file, format, producer }: SamplesFile,
): Promise<IdContents> {
  const tensors = samples.map(({ ids }) => ids);
  if (tensors.length === 0) {
    const problem =
      'has samples of a rollout without routing: rollout_routed_experts is missing or empty in all of them';
    refuse('NOT_ROUTING', problem, { file, remedy: 'record the routing with --use-rollout-routing-replay' });
  }
  const [numLayers, numTopk] = tensors[0].shape.slice(-2);
  const parts = tensors.map((tensor): ArrayPart => {
    const { name, shape } = tensor;
    const fits = shape.at(-2) === numLayers && shape.at(-1) === numTopk && shape.length >= 3 && shape.length <= 4;
    if (!fits || !isOfIntegers(tensor)) {
      refuse('DAMAGED', `is ${describedTensor(tensor)}, not integers of [tokens, ${numLayers}, ${numTopk}]`, {
        file,
        place: `tensor '${name}'`,
        remedy: 'all samples must be of one model; save those of each model to a file of their own',
      });
    }
    const axes = ['tokens', 'layers', 'topk'] as const;
    return { array: tensor, axes: shape.length === 4 ? ['tokens', ...axes] : axes };
  });
  const isBatch = tensors[0].shape.length === 4;
  const note = `The tokens of ${isBatch ? tensors[0].shape[0] : tensors.length} samples follow one another.`;
  const { grid, notes } = await unpadded(gridOfArrays(parts), samples);
  return {
    kind: 'ids',
    grid,
    axes: isBatch ? 'tokens,tokens,layers,topk' : 'tokens,layers,topk',
    axesBecause: `${producer ?? 'every trainer that keeps routed_experts'} writes tokens first`,
    ...nothingKnown,
    format,
    producer,
    numbering: 'logical',
    notes: tensors.length > 1 || isBatch ? [note, ...notes] : notes,
  };
}

/** Leaves out what the masks of samples say is padding. */
async function unpadded(grid: IdGrid, samples: readonly Sample[]): Promise<{ grid: IdGrid; notes: readonly string[] }> {
  if (samples.every(({ mask }) => mask === undefined)) return { grid, notes: [] };
  const masks: PaddingMask[] = [];
  const unfit: string[] = [];
  let firstToken = 0;
  for (const { ids, mask } of samples) {
    const shape = ids.shape.slice(0, -2);
    if (mask !== undefined) {
      const array = asMask(mask);
      if (array !== undefined && mask.shape.join() === shape.join()) masks.push({ firstToken, mask: array });
      else unfit.push(`${mask.name} is ${describedTensor(mask)}, and ${ids.name} is ${describedTensor(ids)}`);
    }
    firstToken += sizeOf(shape);
  }
  const notes =
    unfit.length === 0 ? [] : [`Padding of ${counted(unfit.length, 'tensor')} is read as tokens: ${unfit[0]}.`];
  if (masks.length === 0) return { grid, notes };
  const result = await withoutPadding(grid, masks);
  return { grid: result, notes: [noteOfPadding(grid, result), ...notes] };
}

/** A mask as an array of integers, or undefined if it is of fractions. */
function asMask(mask: Tensor): StoredArray | undefined {
  const tensor = mask.type === 'bool' ? { ...mask, type: 'uint8' } : mask;
  return isOfIntegers(tensor) ? tensor : undefined;
}
