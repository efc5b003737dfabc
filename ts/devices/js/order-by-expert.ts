/**
 * The order by expert, plainly.
 *
 * @module
 */

import { expertOf } from '../../input/expert-of.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { ExpertOrder } from '../../layout/outputs.ts';

/** Orders the selections of the local experts by (expert, token, slot). */
export function orderByExpert({ topkIdx, numTokens, numTopk, numExperts, out, computation }: LayoutRequest): void {
  const { firstExpert, numLocalExperts, alignment } = computation as ExpertOrder;
  const { data, offset, tokenStride, slotStride, emptyId } = topkIdx;
  const { numTokensPerExpert, expertOffsets, selectionOfRow, rowOfSelection } = out;
  /** Calls `visit` for every kept selection, in order, with its local expert. */
  const forEachSelection = (visit: (selection: number, expert: number) => void): void => {
    for (let token = 0; token < numTokens; token++) {
      for (let slot = 0; slot < numTopk; slot++) {
        const id = data[offset + token * tokenStride + slot * slotStride];
        const expert = expertOf(id, numExperts, emptyId) - firstExpert;
        if (expert >= 0 && expert < numLocalExperts) visit(token * numTopk + slot, expert);
      }
    }
  };

  numTokensPerExpert.fill(0);
  forEachSelection((_, expert) => numTokensPerExpert[expert]++);

  expertOffsets[0] = 0;
  for (let expert = 0; expert < numLocalExperts; expert++) {
    const rows = Math.ceil(numTokensPerExpert[expert] / alignment) * alignment;
    expertOffsets[expert + 1] = expertOffsets[expert] + rows;
  }

  selectionOfRow.fill(-1);
  rowOfSelection.fill(-1);
  const nextRow = expertOffsets.slice();
  forEachSelection((selection, expert) => {
    const row = nextRow[expert]++;
    selectionOfRow[row] = selection;
    rowOfSelection[selection] = row;
  });
}
