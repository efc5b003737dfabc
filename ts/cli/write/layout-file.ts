/**
 * The `.npz` of `--out`: the outputs under DeepEP's names, with a leading layer axis where all layers were computed.
 *
 * @module
 */
import type { RoutingLayout } from '../compute.ts';
import { formatNpy } from './npy.ts';
import { packNpz } from './npz.ts';
import { writeWholeFile } from './write-file.ts';

/** @param withLayerAxis whether the arrays begin with the dimension of layers. */
export function writeLayoutFile(path: string, layout: RoutingLayout, withLayerAxis: boolean): void {
  const { numTokens, numRanks, numRdmaRanks, numExperts, isTokenInRank } = layout;
  if (isTokenInRank === null) throw new Error('is_token_in_rank was not kept');
  const shape = (...dimensions: number[]): number[] => (withLayerAxis ? [layout.numLayers, ...dimensions] : dimensions);
  const arrays: Record<string, Uint8Array> = {
    num_tokens_per_rank: formatNpy(layout.numTokensPerRank, shape(numRanks)),
    num_tokens_per_expert: formatNpy(layout.numTokensPerExpert, shape(numExperts)),
    is_token_in_rank: formatNpy(isTokenInRank, shape(numTokens, numRanks), 'b1'),
  };
  if (layout.numTokensPerRdmaRank !== null) {
    arrays.num_tokens_per_rdma_rank = formatNpy(layout.numTokensPerRdmaRank, shape(numRdmaRanks));
  }
  writeWholeFile(path, packNpz(arrays, path));
}
