/**
 * The `js` device is the plain reference. It runs where WebAssembly is missing or forbidden, and it is the semantics in
 * executable form: the other devices must give the same bits.
 *
 * @module
 */
import { InvalidExpertError, isInvalidExpert } from '../../errors/errors.ts';
import { finishedHandle } from '../../layout/event-overlap.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { Device } from '../device.ts';
import { engineVersions } from '../engine-versions.ts';
import { isEmpty } from './expert-of.ts';
import { countTokens } from './layout.ts';

/** The plain JavaScript device. */
export const jsDevice: Device = {
  name: 'js',
  probe: () => ({ isAvailable: true, reason: 'plain JavaScript runs everywhere', versions: engineVersions() }),
  fromSelections: 0,
  submit(request) {
    if (request.isStrict) checkExperts(request);
    const compute = request.onCpu?.js ?? countTokens;
    compute(request);
    return finishedHandle;
  },
};

function checkExperts({ topkIdx, numTokens, numTopk, numExperts }: LayoutRequest): void {
  const { data, offset, tokenStride, slotStride, emptyId } = topkIdx;
  for (let token = 0; token < numTokens; token++) {
    for (let slot = 0; slot < numTopk; slot++) {
      const id = data[offset + token * tokenStride + slot * slotStride];
      if (isInvalidExpert(id, numExperts) && !isEmpty(id, emptyId)) {
        throw InvalidExpertError.at(token * numTopk + slot, topkIdx, numExperts);
      }
    }
  }
}
