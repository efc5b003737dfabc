// Runs the layer on all ranks of an MPI job, and compares the output of each with that of the dense computation. The
// job fails if they differ.
import { ExpertGroup } from 'dispatch-layout';
import { denseLayer, largestDifference, tolerance } from '../moe-layer/dense.mjs';
import { randomLayer } from '../moe-layer/random.mjs';
import { moeLayer } from './moe-layer.mjs';
import { numRanks, rank, runRank } from './mpi.mjs';
import { shareOf } from './share.mjs';

const numTopk = 2;
const numExperts = 4 * numRanks;
// Ranks have different numbers of tokens, and every third one has none
const numTokensPerRank = Array.from({ length: numRanks }, (_, r) => [12, 5, 0][r % 3]);
const numTokens = numTokensPerRank.reduce((sum, n) => sum + n);

await runRank(async () => {
  const group = new ExpertGroup({ numRanks, numRanksPerNode: numRanks });
  const whole = randomLayer({ numTokens, hiddenSize: 64, innerSize: 128, numExperts, seed: 1 });
  const { hidden, weights } = shareOf(whole, numTokensPerRank);
  const { output, gates, experts, received } = await moeLayer(group, hidden, weights, numTopk);
  const difference = largestDifference(output, denseLayer(hidden, whole.weights, gates, experts));

  const sources = received.numTokensPerSourceRank.join(' ');
  console.log(
    `rank ${rank}: ${hidden.dims[0]} tokens, receives ${received.numTokens} (${sources}), ` +
      `rows per expert ${received.numTokensPerExpert.join(' ')}, largest difference ${difference.toExponential(1)}`,
  );
  // Written in this way, it fails also if the difference is NaN
  if (!(difference < tolerance)) throw new Error(`The difference must be less than ${tolerance}.`);
});
