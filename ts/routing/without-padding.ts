/**
 * Leaves out the tokens of a grid that are padding: batches of sequences of different lengths have a mask beside the ids
 * that says which tokens they are.
 *
 * @module
 */
import { idTypes } from '../values/id-types.ts';
import { gridOfArrays } from './array-grid.ts';
import type { IdGrid, StoredArray } from './contents.ts';
import { refuse } from './routing-error.ts';

/** The name of the mask that says which tokens of an array are padding, where a container has one. */
export function maskBeside(name: string): string {
  return name.replace(/[^./]*$/, 'attention_mask');
}

/** Says how much of a grid was left out, as a note. */
export function noteOfPadding(before: IdGrid, after: IdGrid): string {
  const numLeftOut = before.numTokens - after.numTokens;
  return `${numLeftOut} of ${before.numTokens} tokens are left out, which are padding by the attention_mask.`;
}

/** Which tokens are padding. */
export interface PaddingMask {
  /** The first token of the grid that it is for. */
  readonly firstToken: number;
  /** For each token from there on, row-major, 0 if it is padding. */
  readonly mask: StoredArray;
}

/** The most tokens of a grid with padding: a byte is kept for each of them. */
const maxTokens = 2 ** 26;
/** How many elements of a mask are read at a time. */
const maskPiece = 2 ** 16;

/**
 * A grid without its padding.
 *
 * @param grid one in which all layers have as many tokens.
 * @param masks those of all its tokens that can be padding.
 * @throws {@link RoutingError} `TOO_LARGE` if it is of more than 67,108,864 tokens.
 */
export async function withoutPadding(grid: IdGrid, masks: readonly PaddingMask[]): Promise<IdGrid> {
  if (grid.numTokens > maxTokens) {
    const problem = `has ${grid.numTokens} tokens and a mask of padding, and the limit is ${maxTokens}`;
    refuse('TOO_LARGE', problem, { file: masks[0].mask.source.name, remedy: 'save fewer sequences in one file' });
  }
  const isToken = new Uint8Array(grid.numTokens).fill(1);
  for (const { firstToken, mask } of masks) await readMask(mask, isToken.subarray(firstToken));
  const numTokensLeft = isToken.reduce((sum, each) => sum + each, 0);
  return {
    ...grid,
    numTokens: numTokensLeft,
    async *pieces(layers, into) {
      // Then there may be no room for the tokens of the grid
      if (numTokensLeft === 0) return;
      const numGiven = new Map(layers.map((layer) => [layer, 0]));
      for await (const { layer, firstToken, numTokens } of grid.pieces(layers, into)) {
        const { numTopk } = grid;
        let numKept = 0;
        for (let row = 0; row < numTokens; ) {
          const isKept = isToken[firstToken + row];
          let end = row + 1;
          while (end < numTokens && isToken[firstToken + end] === isKept) end++;
          if (isKept === 1) {
            if (numKept !== row) into.copyWithin(numKept * numTopk, row * numTopk, end * numTopk);
            numKept += end - row;
          }
          row = end;
        }
        if (numKept === 0) continue;
        const first = numGiven.get(layer) as number;
        numGiven.set(layer, first + numKept);
        yield { layer, firstToken: first, numTokens: numKept, ids: into.subarray(0, numKept * numTopk) };
      }
    },
  };
}

/** Reads a mask as a grid of one slot, in bounded memory. */
async function readMask(mask: StoredArray, isToken: Uint8Array): Promise<void> {
  const array = { ...mask, shape: [...mask.shape, 1], strides: [...mask.strides, 1] };
  const grid = gridOfArrays([{ array, axes: [...mask.shape.map(() => 'tokens' as const), 'topk'] }]);
  const into = new idTypes[mask.type].array(maskPiece);
  for await (const { firstToken, numTokens, ids } of grid.pieces([0], into)) {
    for (let row = 0; row < numTokens; row++) if (Number(ids[row]) === 0) isToken[firstToken + row] = 0;
  }
}
