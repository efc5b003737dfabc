// One rank's share of a layer. In a model of your own, each rank has only its share from the beginning.
import { Tensor } from 'onnxruntime-node';
import { numRanks, rank } from './mpi.mjs';

/** The tokens of this rank, if rank r has numTokensPerRank[r] of them, and its experts, of which all have as many. */
export function shareOf({ hidden, weights }, numTokensPerRank) {
  const width = hidden.dims[1];
  const begin = numTokensPerRank.slice(0, rank).reduce((sum, numTokens) => sum + numTokens, 0);
  const end = begin + numTokensPerRank[rank];
  const numLocalExperts = weights.experts.length / numRanks;
  return {
    hidden: new Tensor('float32', hidden.data.subarray(begin * width, end * width), [end - begin, width]),
    weights: {
      router: weights.router,
      experts: weights.experts.slice(rank * numLocalExperts, (rank + 1) * numLocalExperts),
    },
  };
}
