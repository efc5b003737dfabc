/**
 * The format safetensors, in which miles keeps the samples of a rollout and TensorRT-LLM its statistics of experts.
 *
 * @module
 */
import { idTypes } from '../../values/id-types.ts';
import { denseStrides } from '../../values/shape.ts';
import type { ByteSource } from '../byte-source.ts';
import type { Contents } from '../contents.ts';
import type { Format } from '../format.ts';
import { looksLikeSafetensors, readSafetensorsHeader, type SafetensorsEntry } from './safetensors/header.ts';
import { contentsOfSamples } from './samples.ts';
import { contentsOfStatistics, isStatistics, rankInName } from './tensorrt-llm/statistics.ts';
import { contentsOfTensors, type Tensor } from './tensors.ts';

/** The format. */
export const safetensorsFormat: Format = {
  name: 'safetensors',
  noun: 'a safetensors file',
  recognises: looksLikeSafetensors,
  async open(source, options): Promise<Contents> {
    const tensors = await readSafetensors(source);
    if (isStatistics(tensors)) {
      const files = [{ file: source.name, rank: rankInName(source.name), tensors }];
      return contentsOfStatistics(files, null, 'safetensors');
    }
    const samples = samplesOf(tensors);
    if (samples !== undefined) {
      return contentsOfSamples(
        samples.map((ids) => ({ ids })),
        { file: source.name, format: 'safetensors', producer: 'miles' },
      );
    }
    return contentsOfTensors(tensors, source.name, 'safetensors', options);
  },
};

/** The routing of the samples of a rollout, in their order, or undefined if the tensors are not those of samples. */
function samplesOf(tensors: readonly Tensor[]): Tensor[] | undefined {
  const indexOf = ({ name }: Tensor): number => Number(/^rollout_routed_experts\.(\d+)$/.exec(name)?.[1] ?? Number.NaN);
  const samples = tensors.filter((tensor) => indexOf(tensor) >= 0).sort((a, b) => indexOf(a) - indexOf(b));
  return samples.length > 0 || tensors.some(({ name }) => name === '_samples_meta') ? samples : undefined;
}

/**
 * Reads what a file has.
 *
 * @throws {@link RoutingError}
 */
export async function readSafetensors(source: ByteSource): Promise<Tensor[]> {
  return (await readSafetensorsHeader(source)).map((entry) => asTensor(entry, source));
}

/** The types under the names that PyTorch has for them. Types that are not among them keep the name of the format. */
const typeNames: ReadonlyMap<string, string> = new Map([
  ...Object.values(idTypes).map(
    ({ name, bytes, isSigned }) => [`${isSigned ? 'I' : 'U'}${8 * bytes}`, name] as [string, string],
  ),
  ['BOOL', 'bool'],
  ['F16', 'float16'],
  ['BF16', 'bfloat16'],
  ['F32', 'float32'],
  ['F64', 'float64'],
]);

function asTensor({ name, dtype, shape, position }: SafetensorsEntry, source: ByteSource): Tensor {
  const type = typeNames.get(dtype) ?? dtype;
  return { name, type, littleEndian: true, shape, strides: denseStrides(shape), source, position };
}
