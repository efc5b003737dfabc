/**
 * The library's public call, whole.
 *
 * @module
 */
import { type DeviceName, ExpertGroup } from 'dispatch-layout';
import type { Variant } from './variant.ts';

/** `getDispatchLayout` of a group that is kept, to reused result arrays or to new ones. */
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
