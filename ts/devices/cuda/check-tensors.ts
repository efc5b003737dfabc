/**
 * Checks of `out`, if the caller passes tensors for the results of a layout.
 *
 * @module
 */
import { wrongValue } from '../../errors/checks.ts';
import { DispatchLayoutError } from '../../errors/errors.ts';
import { dimensionsOf, type Output, type OutputShape, perOutput } from '../../layout/outputs.ts';
import type { TensorArrays } from '../../layout/tensors.ts';
import type { OutputTensors } from './device-layout.ts';
import { DeviceTensor } from './device-tensor.ts';
import type { Gpu } from './runtime.ts';

/**
 * Checks the tensors that a layout is to be written to. They must be on the GPU of `topkIdx`. A tensor of rows may have
 * more rows than there are tokens. A view of the rows that are needed then takes its place.
 *
 * @throws DispatchLayoutError `OUT`, `DISPOSED`
 */
export function checkTensors(out: TensorArrays, shape: OutputShape, topkIdx: DeviceTensor): OutputTensors {
  if (typeof out !== 'object' || out === null) {
    throw wrongValue('OUT', 'out', out, 'Pass an object with the result tensors.');
  }
  const { gpu } = topkIdx.allocation;
  const tensors = perOutput(shape.computation.form, (output) => checkTensor(output, out[output.name], shape, gpu));
  checkDisjoint({ topkIdx, ...tensors });
  return tensors;
}

function checkTensor(output: Output, tensor: unknown, shape: OutputShape, gpu: Gpu): DeviceTensor | null {
  const { name, type, kind } = output;
  const size = output.length(shape);
  if (size === null) {
    if (tensor === null || tensor === undefined) return null;
    const where = kind === 'rows' ? "with mask: 'none'" : 'within one node';
    throw wrongValue('OUT', `out.${name}`, tensor, `It must be null ${where}.`);
  }
  if (!(tensor instanceof DeviceTensor) || tensor.dtype !== type || !tensor.isContiguous) {
    const remedy = `For a topkIdx on the GPU it must be a contiguous DeviceTensor of ${type}.`;
    throw wrongValue('OUT', `out.${name}`, tensor, remedy);
  }
  if (tensor.allocation.gpu !== gpu) {
    throw new DispatchLayoutError('OUT', `out.${name} is on '${tensor.device}', and topkIdx on '${gpu.name}'`, {
      value: tensor,
      remedy: 'Make all tensors of a layout on one GPU.',
    });
  }
  if (tensor.size === size) return tensor;
  if (kind === 'rows' && tensor.size > size) return tensor.firstElements(dimensionsOf(output, shape) ?? []);
  throw new DispatchLayoutError('OUT', `out.${name} has ${tensor.size} elements`, {
    value: tensor.size,
    remedy: `It needs ${kind === 'rows' ? 'at least ' : ''}${size}.`,
  });
}

/** Checks that no tensors overlap: results written over the input, or over each other, would be silently wrong. */
function checkDisjoint(tensors: Readonly<Record<string, DeviceTensor | null>>): void {
  const ranges: { readonly name: string; readonly begin: bigint; readonly end: bigint }[] = [];
  for (const [name, tensor] of Object.entries(tensors)) {
    if (tensor === null || tensor.size === 0) continue;
    const [begin, end] = tensor.addresses;
    const other = ranges.find((range) => begin < range.end && range.begin < end);
    if (other !== undefined) {
      throw new DispatchLayoutError('OUT', `out.${name} shares memory with ${other.name}`, {
        value: tensor,
        remedy: 'Give every result tensor memory of its own.',
      });
    }
    ranges.push({ name: name === 'topkIdx' ? name : `out.${name}`, begin, end });
  }
}
