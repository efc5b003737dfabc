/**
 * The library as its users call it.
 *
 * @module
 */
import { type DeviceName, ExpertGroup } from 'dispatch-layout';
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
      layout: () => layout,
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
    layout: () => layout,
  };
};
