/**
 * The caller's tensors for the results of a layout.
 *
 * @module
 */

import { describe } from '../describe.ts';
import type { DeviceLayoutArrays } from '../device-layout.ts';
import { DispatchLayoutError } from '../errors.ts';
import type { LayoutShape } from '../layout.ts';
import type { IdType } from '../topk-idx.ts';
import { DeviceTensor } from './device-tensor.ts';

/**
 * Checks tensors to write a layout to. `isTokenInRank` may be larger than needed: the result is then a view of it.
 *
 * @throws DispatchLayoutError `OUT`, `DISPOSED`
 */
export function checkTensorsOut(
  out: DeviceLayoutArrays,
  shape: LayoutShape,
  topkIdx: DeviceTensor,
): DeviceLayoutArrays {
  if (typeof out !== 'object' || out === null) throw outError('out', out, 'Pass an object with the four tensors.');
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = out;
  const { numTokens, numExperts, numRanks, numRdmaRanks } = shape;
  checkTensor('numTokensPerRank', numTokensPerRank, 'int32', numRanks);
  checkTensor('numTokensPerExpert', numTokensPerExpert, 'int32', numExperts);
  checkTensor('isTokenInRank', isTokenInRank, 'uint8', numTokens * numRanks);
  if (numRdmaRanks > 1) checkTensor('numTokensPerRdmaRank', numTokensPerRdmaRank, 'int32', numRdmaRanks);
  else if (numTokensPerRdmaRank !== null && numTokensPerRdmaRank !== undefined) {
    throw outError('out.numTokensPerRdmaRank', numTokensPerRdmaRank, 'It must be null within one node.');
  }
  const arrays = {
    numTokensPerRank,
    numTokensPerRdmaRank: numRdmaRanks === 1 ? null : numTokensPerRdmaRank,
    numTokensPerExpert,
    isTokenInRank,
  };
  checkDisjoint({ topkIdx, ...arrays });
  if (isTokenInRank.size === numTokens * numRanks) return arrays;
  return { ...arrays, isTokenInRank: isTokenInRank.firstElements([numTokens, numRanks]) };
}

function checkTensor(name: string, tensor: unknown, dtype: IdType, size: number): void {
  if (!(tensor instanceof DeviceTensor) || tensor.dtype !== dtype || !tensor.isContiguous) {
    throw outError(`out.${name}`, tensor, `For a topkIdx on the GPU it must be a contiguous DeviceTensor of ${dtype}.`);
  }
  if (dtype === 'uint8' ? tensor.size >= size : tensor.size === size) return;
  throw new DispatchLayoutError('OUT', `out.${name} has ${tensor.size} elements`, {
    value: tensor.size,
    remedy: `It needs ${dtype === 'uint8' ? 'at least ' : ''}${size}.`,
  });
}

/** Results written over the input, or over each other, would be silently wrong. */
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

function outError(name: string, value: unknown, remedy: string): DispatchLayoutError {
  return new DispatchLayoutError('OUT', `${name} is ${describe(value)}`, { value, remedy });
}
