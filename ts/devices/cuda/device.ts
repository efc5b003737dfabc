/**
 * The `cuda` device runs the kernel of `cuda/` on the communication stream of each group. Importing this module touches
 * nothing of CUDA.
 *
 * @module
 */
import type { Device, DeviceStreams } from '../device.ts';
import { fromSelections, isWorthTheGpu } from './crossover.ts';
import { currentStreamHandle } from './current-stream.ts';
import { isCudaEvent, StreamEvent } from './events.ts';
import { probeCuda } from './probe.ts';
import { addonInUse, isCudaInUse } from './runtime.ts';
import { submitArrays } from './submit-arrays.ts';
import { submitTensor } from './submit-tensor.ts';

/** The CUDA device. */
export const cudaDevice: Device & { readonly streams: DeviceStreams } = {
  name: 'cuda',
  probe: probeCuda,
  get fromSelections() {
    return fromSelections();
  },
  suits: isWorthTheGpu,
  submit: submitArrays,
  streams: {
    get areInUse() {
      return isCudaInUse();
    },
    submit: submitTensor,
    capture: () => new StreamEvent(addonInUse().recordEvent(currentStreamHandle())),
    canWaitFor: isCudaEvent,
  },
};
