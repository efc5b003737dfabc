/**
 * Pure functions of an order by expert: other forms in which kernels and peers want it. They need no device.
 *
 * @module
 */
import { checkAttached, checkCount, wrongValue } from './errors/checks.ts';
import type { DispatchLayoutError } from './errors/errors.ts';
import { checkSelections } from './input/read-topk-idx.ts';
import { checkAlignment, checkRows, isAlignment, rowsNeeded } from './layout/expert-permutation.ts';
import type { ExpertPermutationArrays } from './layout/outputs.ts';
import { typedArrayName } from './values/typed-array.ts';

/** What {@link maxRows} depends on. */
export interface MaxRowsShape {
  /** The number of tokens. */
  readonly numTokens: number;
  /** The number of slots of each token. */
  readonly numTopk: number;
  /** The number of local experts. */
  readonly numLocalExperts: number;
  /** What the rows of each expert are padded to. Default 1. */
  readonly alignment?: number | undefined;
}

/**
 * The number of rows for which an order by expert has room, whatever the experts: the length of `selectionOfRow`. With
 * n selections, it is `n + min(n, numLocalExperts) * (alignment - 1)`, rounded down to a multiple of the alignment.
 *
 * ```ts
 * import { maxRows } from 'dispatch-layout';
 *
 * console.log(maxRows({ numTokens: 4096, numTopk: 8, numLocalExperts: 256, alignment: 128 })); // 65280
 * ```
 *
 * @throws {@link DispatchLayoutError} `OPTION` if a number is no integer, too small, or an alignment that is too large;
 *   `TOO_LARGE` if int32 cannot number the selections or the rows.
 */
export function maxRows(shape: MaxRowsShape): number {
  if (typeof shape !== 'object' || shape === null) {
    throw wrongValue('OPTION', 'shape', shape, 'Pass an object with numTokens, numTopk and numLocalExperts.');
  }
  const { numTokens, numTopk, numLocalExperts, alignment = 1 } = shape;
  checkCount('numTokens', numTokens);
  checkCount('numTopk', numTopk);
  checkCount('numLocalExperts', numLocalExperts);
  checkAlignment(alignment);
  checkSelections(numTokens, numTopk);
  const order = { numLocalExperts, alignment };
  checkRows(numTokens * numTopk, order);
  return rowsNeeded(numTokens * numTopk, order);
}

/**
 * The local expert of each row: `[maxRows]`, -1 in padding and behind the last row. DeepGEMM calls it `m_indices`.
 *
 * ```ts
 * import { expertOfRow, getExpertPermutation } from 'dispatch-layout';
 *
 * const order = getExpertPermutation([[2, 0], [2, -1]], 4, { alignment: 2 });
 * console.log(expertOfRow(order).join(' ')); // 0 -1 2 2 -1 -1 -1 -1
 * ```
 *
 * @param permutation a finished result of `getExpertPermutation` in host arrays.
 * @throws {@link DispatchLayoutError} `OPTION` if it is something else; `DETACHED_BUFFER`
 */
export function expertOfRow(permutation: ExpertPermutationArrays): Int32Array {
  const { numTokensPerExpert, expertOffsets, selectionOfRow } = arraysOf(permutation);
  const experts = new Int32Array(selectionOfRow.length).fill(none);
  for (let expert = 0; expert < numTokensPerExpert.length; expert++) {
    const begin = expertOffsets[expert];
    experts.fill(expert, begin, begin + numTokensPerExpert[expert]);
  }
  return experts;
}

/**
 * The local expert of each block of rows: `[maxRows / blockSize]`, -1 behind the last row. vLLM and SGLang call it
 * `expert_ids`.
 *
 * ```ts
 * import { expertOfBlock, getExpertPermutation } from 'dispatch-layout';
 *
 * const order = getExpertPermutation([[2, 0], [2, -1]], 4, { alignment: 2 });
 * console.log(expertOfBlock(order, 2).join(' ')); // 0 2 -1 -1
 * ```
 *
 * @param permutation a finished result of `getExpertPermutation` in host arrays.
 * @param blockSize the number of rows of a block. It must divide the alignment, so that a block has one expert.
 * @throws {@link DispatchLayoutError} `OPTION` if it does not, or if `permutation` is something else; `DETACHED_BUFFER`
 */
export function expertOfBlock(
  permutation: ExpertPermutationArrays & { readonly alignment: number },
  blockSize: number,
): Int32Array {
  const { numTokensPerExpert, expertOffsets, selectionOfRow } = arraysOf(permutation);
  const { alignment } = permutation;
  if (!isAlignment(alignment)) throw wrongPermutation(permutation);
  if (!Number.isInteger(blockSize) || blockSize < 1 || alignment % blockSize !== 0) {
    const remedy = `It must divide the alignment of the rows, ${alignment}, so that each block has one expert.`;
    throw wrongValue('OPTION', 'blockSize', blockSize, remedy);
  }
  const experts = new Int32Array(selectionOfRow.length / blockSize).fill(none);
  for (let expert = 0; expert < numTokensPerExpert.length; expert++) {
    experts.fill(expert, expertOffsets[expert] / blockSize, expertOffsets[expert + 1] / blockSize);
  }
  return experts;
}

/**
 * Where the rows of each local expert end, without their padding: `[numLocalExperts]`. DeepGEMM calls it the psum
 * layout.
 *
 * ```ts
 * import { expertEnds, getExpertPermutation } from 'dispatch-layout';
 *
 * const order = getExpertPermutation([[2, 0], [2, -1]], 4, { alignment: 4 });
 * console.log(expertEnds(order).join(' ')); // 1 4 6 8
 * ```
 *
 * @param permutation a finished result of `getExpertPermutation` in host arrays.
 * @throws {@link DispatchLayoutError} `OPTION` if it is something else; `DETACHED_BUFFER`
 */
export function expertEnds(permutation: ExpertPermutationArrays): Int32Array {
  const { numTokensPerExpert, expertOffsets } = arraysOf(permutation);
  return Int32Array.from(numTokensPerExpert, (count, expert) => expertOffsets[expert] + count);
}

/** No expert. */
const none = -1;

type ArraysOfRows = Pick<ExpertPermutationArrays, 'numTokensPerExpert' | 'expertOffsets' | 'selectionOfRow'>;

/** Reads each array once. They may be of another realm. */
function arraysOf(permutation: ExpertPermutationArrays): ArraysOfRows {
  const { numTokensPerExpert, expertOffsets, selectionOfRow } = Object(permutation) as ExpertPermutationArrays;
  const arrays = { numTokensPerExpert, expertOffsets, selectionOfRow };
  for (const [name, array] of Object.entries(arrays)) {
    if (typedArrayName(array) !== 'Int32Array') throw wrongPermutation(permutation);
    checkAttached(array, name, 'permutation.');
  }
  return arrays;
}

function wrongPermutation(permutation: unknown): DispatchLayoutError {
  const remedy = 'Pass a result of getExpertPermutation. If it is in tensors, copy these to the host first.';
  return wrongValue('OPTION', 'permutation', permutation, remedy);
}
