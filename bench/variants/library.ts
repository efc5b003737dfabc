/**
 * The library as its users call it.
 *
 * @module
 */
import { type DeviceName, ExpertGroup } from 'dispatch-layout';
import { arraysOf, type OrderArrays, type OrderKind } from './order.ts';
import type { Variant } from './variant.ts';

/** `getDispatchLayout` of one group, which writes to the same result arrays every time or to new ones. */
export function publicCall(device: DeviceName, idType: 'int64' | 'int32', results: 'reused' | 'new'): Variant {
  return (problem) => {
    const { numTokens, numTopk, numExperts, numRanks } = problem.configuration;
    const group = new ExpertGroup({ numRanks, device });
    const topkIdx = { data: problem[idType], shape: [numTokens, numTopk] };
    let layout = group.getDispatchLayout(topkIdx, numExperts);
    const options = results === 'reused' ? { out: layout } : {};
    return {
      run() {
        layout = group.getDispatchLayout(topkIdx, numExperts, options);
      },
      result: () => layout,
    };
  };
}

/** `workspace.run`: the int64 ids and the results stay in the memory of the device. */
export const workspaceRun: Variant = ({ configuration, int64 }) => {
  const { numTokens, numTopk, numExperts, numRanks } = configuration;
  const group = new ExpertGroup({ numRanks, device: 'wasm' });
  const workspace = group.createWorkspace({ numExperts, maxTokens: numTokens, numTopk });
  workspace.topkIdx.set(int64);
  let layout = workspace.run(numTokens);
  return {
    run() {
      layout = workspace.run(numTokens);
    },
    result: () => layout,
  };
};

/** `getExpertPermutation` or `getRankPermutation` of one group on `wasm`, with the same result arrays or with new ones. */
export function publicOrder(
  kind: OrderKind,
  idType: 'int64' | 'int32',
  results: 'reused' | 'new',
): Variant<OrderArrays> {
  return (problem) => {
    const { numTokens, numTopk, numExperts, numRanks } = problem.configuration;
    const group = new ExpertGroup({ numRanks, device: 'wasm' });
    const topkIdx = { data: problem[idType], shape: [numTokens, numTopk] };
    if (kind === 'byExpert') {
      let order = group.getExpertPermutation(topkIdx, numExperts);
      const options = results === 'reused' ? { out: order } : {};
      return {
        run() {
          order = group.getExpertPermutation(topkIdx, numExperts, options);
        },
        result: () => arraysOf(kind, order),
      };
    }
    let order = group.getRankPermutation(topkIdx, numExperts);
    const options = results === 'reused' ? { out: order } : {};
    return {
      run() {
        order = group.getRankPermutation(topkIdx, numExperts, options);
      },
      result: () => arraysOf(kind, order),
    };
  };
}

/** `runExpertPermutation` or `runRankPermutation` of a workspace with int64 ids. */
export function workspaceOrder(kind: OrderKind): Variant<OrderArrays> {
  return ({ configuration, int64 }) => {
    const { numTokens, numTopk, numExperts, numRanks } = configuration;
    const group = new ExpertGroup({ numRanks, device: 'wasm' });
    const orders = kind === 'byExpert' ? ({ expertPermutation: true } as const) : ({ rankPermutation: true } as const);
    const workspace = group.createWorkspace({ numExperts, maxTokens: numTokens, numTopk, ...orders });
    workspace.topkIdx.set(int64);
    const run =
      kind === 'byExpert'
        ? () => void workspace.runExpertPermutation(numTokens)
        : () => void workspace.runRankPermutation(numTokens);
    const order =
      kind === 'byExpert' ? workspace.runExpertPermutation(numTokens) : workspace.runRankPermutation(numTokens);
    return { run, result: () => arraysOf(kind, order) };
  };
}
