/**
 * The routing of samples of a rollout, kept for the training that follows: slime, miles, verl, NeMo-RL and xtuner have a
 * tensor of `[tokens, layers, topk]` for each sample, or one of `[samples, tokens, layers, topk]`.
 *
 * @module
 */
import { type ArrayPart, gridOfArrays } from '../array-grid.ts';
import type { FormatName, IdContents } from '../contents.ts';
import { refuse } from '../routing-error.ts';
import { nothingKnown } from './npy.ts';
import { asStoredArray, describedTensor, isOfIntegers, type Tensor } from './tensors.ts';

/** What is known of the file. */
interface SamplesFile {
  readonly file: string;
  readonly format: FormatName;
  readonly producer: string | null;
  readonly notes?: readonly string[];
}

/**
 * The routing of all samples, one after the other.
 *
 * @param tensors those of the samples that have routing, in the order of the samples.
 * @throws {@link RoutingError} `NOT_ROUTING` if no sample has routing, `DAMAGED` if the samples do not fit together
 */
export function contentsOfSamples(
  tensors: readonly Tensor[],
  { file, format, producer, notes = [] }: SamplesFile,
): IdContents {
  if (tensors.length === 0) {
    const problem =
      'has samples of a rollout without routing: rollout_routed_experts is missing or empty in all of them';
    refuse('NOT_ROUTING', problem, { file, remedy: 'record the routing with --use-rollout-routing-replay' });
  }
  const [numLayers, numTopk] = tensors[0].shape.slice(-2);
  const parts = tensors.map((tensor): ArrayPart => {
    const { name, shape } = tensor;
    const fits = shape.at(-2) === numLayers && shape.at(-1) === numTopk && isOfIntegers(tensor);
    if (!fits || shape.length < 3 || shape.length > 4) {
      refuse('DAMAGED', `is ${describedTensor(tensor)}, not integers of [tokens, ${numLayers}, ${numTopk}]`, {
        file,
        place: `tensor '${name}'`,
        remedy: 'all samples must be of one model; save those of each model to a file of their own',
      });
    }
    const axes = ['tokens', 'layers', 'topk'] as const;
    return { array: asStoredArray(tensor), axes: shape.length === 4 ? ['tokens', ...axes] : axes };
  });
  const isBatch = tensors[0].shape.length === 4;
  const note = `The tokens of ${isBatch ? tensors[0].shape[0] : tensors.length} samples follow one another.`;
  return {
    kind: 'ids',
    grid: gridOfArrays(parts),
    axes: isBatch ? 'tokens,tokens,layers,topk' : 'tokens,layers,topk',
    axesBecause: `${producer ?? 'every trainer that keeps routed_experts'} writes tokens first`,
    ...nothingKnown,
    format,
    producer,
    numbering: 'logical',
    notes: tensors.length > 1 || isBatch ? [note, ...notes] : notes,
  };
}
