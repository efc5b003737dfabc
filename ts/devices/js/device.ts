/**
 * The `js` device is the plain reference. It runs where WebAssembly is missing or forbidden, and it is the semantics in
 * executable form: the other devices must give the same bits.
 *
 * @module
 */

import { checkExperts } from '../../input/expert-of.ts';
import { finishedHandle } from '../../layout/event-overlap.ts';
import type { Device } from '../device.ts';
import { engineVersions } from '../engine-versions.ts';
import { countTokens } from './layout.ts';

/** The plain JavaScript device. */
export const jsDevice: Device = {
  name: 'js',
  probe: () => ({ isAvailable: true, reason: 'plain JavaScript runs everywhere', versions: engineVersions() }),
  fromSelections: 0,
  submit(request) {
    if (request.isStrict) checkExperts(request.topkIdx, request.numExperts);
    const compute = request.onCpu?.js ?? countTokens;
    compute(request);
    return finishedHandle;
  },
};
