// An MoE layer whose experts are spread over ranks: tokens travel to the ranks of their experts, and results back.
import { getExpertPermutation } from 'dispatch-layout';
import { Tensor } from 'onnxruntime-node';
import { combine, gather, route, runExperts } from '../moe-layer/moe-layer.mjs';
import { allToAll, sendRows } from './mpi.mjs';

/**
 * The layer, which all ranks of the group compute together. It is that of ../moe-layer, but `hidden` has the tokens of
 * this rank, which may be none, and `weights.experts` has only the experts of this rank: with n experts on each rank,
 * rank r has those from n * r on.
 */
export async function moeLayer(group, hidden, weights, numTopk, alignment = 1) {
  const routing = await route(hidden, weights.router, numTopk);
  return { ...routing, ...(await dispatchAndCombine(group, hidden, routing, weights.experts, alignment)) };
}

/** The layer behind the router. */
export async function dispatchAndCombine(group, hidden, { gates, experts }, localExperts, alignment = 1) {
  const numLocalExperts = localExperts.length;
  const numExperts = numLocalExperts * group.numRanks;

  // How many tokens go to each rank, and, after the exchange, how many come from each
  const layout = group.getDispatchLayout(experts, numExperts, { mask: 'none' });
  const received = await group.exchange(layout, allToAll, { alignment });

  // A token goes once to each rank that has experts of it, and its ids and gates go with it
  const order = group.getRankPermutation(experts, numExperts);
  const dispatch = (values) => sendTensor(gather(values, order), order.rankOffsets, received.sourceRankOffsets);
  const [rows, ids, gatesOfRows] = await Promise.all([hidden, experts, gates].map(dispatch));

  // The experts of this rank compute what has come. Other experts' selections have no rows here
  const firstExpert = numLocalExperts * received.rank;
  const localOrder = getExpertPermutation(ids, numExperts, { firstExpert, numLocalExperts, alignment });
  const results = await runExperts(gather(rows, localOrder), localExperts, localOrder);

  // The results of a token are added up first here, so that one row goes back, and then where it came from
  const sums = combine(results, localOrder, gatesOfRows);
  const returned = await sendTensor(sums, received.sourceRankOffsets, order.rankOffsets);
  return { output: combine(returned, order), received, localOrder };
}

/** Sends the rows of a tensor, as `sendRows` does. */
async function sendTensor({ type, data, dims: [, width] }, sentOffsets, receivedOffsets) {
  const rows = await sendRows(data, width, sentOffsets, receivedOffsets);
  return new Tensor(type, rows, [rows.length / width, width]);
}
