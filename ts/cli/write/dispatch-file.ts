/**
 * The file of a dispatch: the counts of all ranks, and the tokens that each of them receives.
 *
 * @module
 */
import type { RoutingDispatch } from '../compute/dispatch-counts.ts';
import type { SimulatedDispatch } from '../library.ts';
import { sum } from '../report/counts.ts';
import { NpzFile } from './npz-file.ts';

/** The file of a dispatch, while it is written. */
export interface DispatchFile {
  /** Writes a layer. The layers come in order. */
  writeLayer(layer: number, dispatch: SimulatedDispatch): void;
  /** Completes the file and gives it its name. */
  finish(): void;
  /** Removes the file unless it is finished. */
  discard(): void;
}

/**
 * Creates the file. The order of its arrays must not change, so that the same input gives the same bytes in every version.
 *
 * @param dispatch the counts, from which the number of received tokens follows.
 */
export function createDispatchFile(path: string, dispatch: RoutingDispatch): DispatchFile {
  const { numRanks, numRdmaRanks, numPhysicalExperts: numExperts, numTopk, layers, ranks } = dispatch;
  const numRows = layers.reduce((total, { numTokensBetweenRanks }) => total + sum(numTokensBetweenRanks), 0);
  const perLayer = (...shape: number[]): number[] => (ranks[0].hasLayerAxis ? [layers.length, ...shape] : shape);
  const file = NpzFile.create(path, [
    { name: 'num_tokens_between_ranks', dtype: 'i4', shape: perLayer(numRanks, numRanks) },
    { name: 'num_tokens_between_nodes', dtype: 'i4', shape: perLayer(numRdmaRanks, numRdmaRanks) },
    { name: 'num_tokens_per_source_rank_and_expert', dtype: 'i4', shape: perLayer(numRanks, numExperts) },
    { name: 'num_rows', dtype: 'i4', shape: perLayer(numRanks) },
    { name: 'received_offsets', dtype: 'i8', shape: perLayer(numRanks + 1) },
    { name: 'source_rank_of_row', dtype: 'i4', shape: [numRows] },
    { name: 'source_token_of_row', dtype: 'i4', shape: [numRows] },
    { name: 'topk_idx', dtype: 'i4', shape: [numRows, numTopk] },
  ]);
  let row = 0;
  return {
    writeLayer(layer, { ranks: computed, numTokensBetweenRanks, numTokensBetweenNodes }) {
      const write = (name: string, perLayer: number, offset: number, values: Int32Array): void =>
        file.write(name, (layer * perLayer + offset) * 4, values);
      write('num_tokens_between_ranks', numRanks ** 2, 0, numTokensBetweenRanks);
      write('num_tokens_between_nodes', numRdmaRanks ** 2, 0, numTokensBetweenNodes);
      const offsets = new BigInt64Array(numRanks + 1);
      offsets[0] = BigInt(row);
      for (const [rank, { layout, received }] of computed.entries()) {
        write(
          'num_tokens_per_source_rank_and_expert',
          numRanks * numExperts,
          rank * numExperts,
          layout.numTokensPerExpert,
        );
        write('num_rows', numRanks, rank, Int32Array.of(received.numRows));
        file.write('source_rank_of_row', row * 4, received.sourceRankOfRow);
        file.write('source_token_of_row', row * 4, received.sourceTokenOfRow);
        file.write('topk_idx', row * numTopk * 4, received.topkIdx.data);
        row += received.numTokens;
        offsets[rank + 1] = BigInt(row);
      }
      file.write('received_offsets', layer * (numRanks + 1) * 8, offsets);
    },
    finish: () => file.finish(),
    discard: () => file.discard(),
  };
}
