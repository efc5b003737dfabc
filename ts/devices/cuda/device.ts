/**
 * The `cuda` device runs the kernel of `cuda/` on the communication stream of each group. Importing this module touches
 * nothing of CUDA.
 *
 * @module
 */
import { type DeviceName, type GpuDescription, ordinalIn } from '../../errors/availability.ts';
import type { Device, DeviceStreams } from '../device.ts';
import { communicationStreamOf } from './communication-stream.ts';
import { fromSelections, isWorthTheGpu } from './crossover.ts';
import { currentStreamHandle } from './current-stream.ts';
import { DeviceWorkspace } from './device-workspace.ts';
import { isCudaEvent, StreamEvent } from './events.ts';
import { probeCuda } from './probe.ts';
import { addonInUse, cudaRuntime, firstGpu, type Gpu, gpuAt, gpusInUse } from './runtime.ts';
import { submitArrays } from './submit-arrays.ts';
import { submitTensor } from './submit-tensor.ts';

type StreamsDevice = Device & { readonly streams: DeviceStreams };

/** The CUDA device: the first GPU that can be used. */
export const cudaDevice: StreamsDevice = deviceOf('cuda');

/** The devices of single GPUs, by ordinal. */
const numberedDevices: StreamsDevice[] = [];

/** @param ordinal undefined for the first GPU that can be used. */
function deviceOf(name: DeviceName, ordinal?: number): StreamsDevice {
  const gpu = (): Gpu => (ordinal === undefined ? firstGpu() : gpuAt(ordinal));
  return {
    name,
    probe: () => probeCuda(ordinal),
    get fromSelections() {
      return fromSelections();
    },
    suits: isWorthTheGpu,
    submit: (request) => submitArrays(request, gpu()),
    named: deviceNamed,
    describeGpus: () => cudaRuntime().gpus.map(describeGpu),
    streams: {
      get areInUse() {
        return gpusInUse().length > 0;
      },
      submit: submitTensor,
      createWorkspace: (operands, orders) => new DeviceWorkspace(operands, orders),
      capture: (isOfAllGpus) => capture(isOfAllGpus ? gpusInUse() : [gpu()]),
      canWaitFor: isCudaEvent,
      communicationStream: (group) => communicationStreamOf(group, gpu()).stream,
    },
  };
}

/** Records an event on the current stream of each GPU. Together they are one event. */
function capture(gpus: readonly Gpu[]): StreamEvent {
  const addon = addonInUse();
  const events = gpus.map((gpu) => ({ gpu, native: addon.recordEvent(currentStreamHandle(gpu)) }));
  // A point in a graph that is captured stands alone: nothing outside of the graph may come before it
  const alone = events.length === 1 ? events[0] : events.find(({ native }) => addon.isCaptured(native));
  if (alone !== undefined) return new StreamEvent(alone.native, alone.gpu);
  const [{ gpu }] = events;
  const joined = addon.createStream(gpu.ordinal);
  for (const { native } of events) addon.makeStreamWait(joined, native);
  return new StreamEvent(addon.recordEvent(joined), gpu);
}

function deviceNamed(name: DeviceName): StreamsDevice | undefined {
  const ordinal = ordinalIn(name);
  if (ordinal === undefined) return undefined;
  // Each GPU has one name. That of the first one is `cuda`
  if (cudaRuntime().gpus[ordinal]?.name === 'cuda') return cudaDevice;
  numberedDevices[ordinal] ??= deviceOf(name, ordinal);
  return numberedDevices[ordinal];
}

function describeGpu({ ordinal, name: device, label, properties, obstacle }: Gpu): GpuDescription {
  const { name = label, major, minor, totalMemory = 0 } = properties ?? {};
  const computeCapability = major === undefined ? '' : `${major}.${minor}`;
  const reason = obstacle?.reason;
  return { device, ordinal, name, computeCapability, totalMemory, ...(reason !== undefined && { reason }) };
}
