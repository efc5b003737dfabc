/**
 * The devices that `getDispatchLayout` can run on, in order of preference, and the choice among them.
 *
 * @module
 */
import { cudaProvider } from '#platform';
import { describe } from './describe.ts';
import type { Device, DeviceAvailability, DeviceName, StreamsDevice } from './device.ts';
import { DeviceUnavailableError, DispatchLayoutError } from './errors.ts';
import { jsDevice } from './js-device.ts';
import { instantiateKernelAhead } from './kernel-instance.ts';
import type { Partition } from './partition.ts';
import { loadWasmDevice } from './wasm-device.ts';

/**
 * A device by name, or `auto`: `cuda` for ids that are on the GPU; for those in host arrays the first available of `wasm`
 * and `js`, or `cuda` where it is faster.
 */
export type DeviceOption = 'auto' | DeviceName;

/** What one device can do here, and whether it would be chosen. */
export interface DeviceDescription {
  readonly device: DeviceName;
  readonly available: boolean;
  readonly chosen: boolean;
  /** Why it is available or not, chosen or not: a clause, without full stop. */
  readonly reason: string;
  /** What to do to make it available, where it is not. */
  readonly remedy?: string;
}

/** The `cuda` device, where the platform has it. */
export interface CudaProvider {
  /** Loads the addon and checks the GPU on first use. */
  probe(): DeviceAvailability<StreamsDevice>;
  /** The device, where something was made on the GPU: a tensor, a stream or a layout. */
  readonly inUse: StreamsDevice | undefined;
  /** From how many selections (`numTokens * numTopk`) on `auto` sends host arrays to the GPU. */
  readonly crossover: number;
  /** Whether the kernel is fast on host arrays for so many experts and ranks. */
  suitsHostArrays(partition: Partition): boolean;
  /** Whether CUDA has been set up, which takes longer than many a layout. */
  readonly isAwake: boolean;
  /** Selections of so large host arrays that the CPU computes before it pays to set CUDA up for them. */
  readonly wakeAfter: number;
}

function probeCuda(): DeviceAvailability<StreamsDevice> {
  if (cudaProvider !== undefined) return cudaProvider.probe();
  return {
    device: undefined,
    reason: 'this is the build of dispatch-layout for browsers and edge runtimes, which has no CUDA',
    remedy:
      "Use Node.js, Bun or Deno; in a bundle for these, keep dispatch-layout external or set the condition 'node'.",
  };
}

let wasm: DeviceAvailability | undefined;

function probeWasm(): DeviceAvailability {
  if (wasm === undefined) {
    try {
      wasm = availableWasm();
    } catch (cause) {
      wasm = unavailableWasm(cause);
    }
  }
  return wasm;
}

function availableWasm(): DeviceAvailability {
  return { device: loadWasmDevice(), reason: 'WebAssembly with SIMD runs here' };
}

function unavailableWasm(cause: unknown): DeviceAvailability {
  return {
    device: undefined,
    reason:
      typeof WebAssembly === 'undefined'
        ? 'this runtime has no WebAssembly'
        : `the kernel does not compile here (${cause instanceof Error ? cause.message : String(cause)})`,
    remedy: "Allow 'wasm-unsafe-eval' in the content security policy, or use a runtime with WebAssembly SIMD.",
    cause,
  };
}

/** In order of preference. Each is probed once, on first use. */
const probes: Readonly<Record<DeviceName, () => DeviceAvailability>> = {
  cuda: probeCuda,
  wasm: probeWasm,
  js: () => ({ device: jsDevice, reason: 'plain JavaScript runs everywhere' }),
};

const preference = Object.keys(probes) as DeviceName[];

/**
 * The device for host arrays that an option names.
 *
 * @throws DeviceUnavailableError if it names one that cannot be used here; DispatchLayoutError `OPTION` if it names none.
 */
export function chooseDevice(option: DeviceOption): Device {
  const name = resolve(option);
  return available(name, probes[name]());
}

/**
 * Has the kernel compiled without blocking, if the option may use it: also where a probe that had to compile it at once
 * failed.
 */
export async function makeAvailable(option: DeviceOption): Promise<void> {
  if ((option !== 'auto' && option !== 'wasm') || wasm?.device !== undefined) return;
  try {
    await instantiateKernelAhead();
    wasm = availableWasm();
  } catch (cause) {
    wasm = unavailableWasm(cause);
  }
}

/**
 * The device for tensors on the GPU.
 *
 * @throws DeviceUnavailableError; DispatchLayoutError `OPTION` if the option names a device that has no such tensors.
 */
export function chooseTensorDevice(option: DeviceOption): StreamsDevice {
  if (option === 'auto' || option === 'cuda') return available('cuda', probeCuda());
  throw new DispatchLayoutError('OPTION', `topkIdx is on the GPU, and the group's device is ${describe(option)}`, {
    value: option,
    remedy: "Make the group with device: 'cuda' or 'auto', or copy the ids to the host.",
  });
}

let numSelectionsBeforeWaking = 0;

/**
 * The GPU, if `auto` sends host arrays with so many selections there. The first ones do not even probe it: only when the
 * CPU has spent as long on large arrays as it takes to set CUDA up, are more of them likely enough.
 */
export function cudaForHostArrays(numSelections: number, partition: Partition): StreamsDevice | undefined {
  if (cudaProvider === undefined || numSelections < cudaProvider.crossover) return undefined;
  if (!cudaProvider.suitsHostArrays(partition)) return undefined;
  if (!cudaProvider.isAwake) {
    numSelectionsBeforeWaking += numSelections;
    if (numSelectionsBeforeWaking <= cudaProvider.wakeAfter) return undefined;
  }
  const { device } = probeCuda();
  // A shortage may pass: ask again after as many
  if (device === undefined) numSelectionsBeforeWaking = 0;
  return device;
}

/** The GPU, if anything was made there. */
export function cudaInUse(): StreamsDevice | undefined {
  return cudaProvider?.inUse;
}

function available<Kind extends Device>(name: DeviceName, availability: DeviceAvailability<Kind>): Kind {
  if (isAvailable(availability)) return availability.device;
  const { reason, remedy, cause } = availability;
  throw new DeviceUnavailableError(name, reason, { remedy, cause });
}

function isAvailable<Kind extends Device>(
  availability: DeviceAvailability<Kind>,
): availability is Extract<DeviceAvailability<Kind>, { readonly device: Kind }> {
  return availability.device !== undefined;
}

/**
 * Every device, in order of preference: whether it is available here, whether `device: option` would choose it for host
 * arrays, and why.
 *
 * @throws {@link DispatchLayoutError} `OPTION` if `option` names no device.
 */
export function describeDevices(option: DeviceOption = 'auto'): readonly DeviceDescription[] {
  const name = resolve(option);
  return preference.map((device) => {
    const { device: found, reason, ...rest } = probes[device]();
    const available = found !== undefined;
    const chosen = available && device === name;
    const remedy = 'remedy' in rest ? { remedy: rest.remedy } : {};
    return { device, available, chosen, reason: reason + (available ? because(device, name, option) : ''), ...remedy };
  });
}

function because(device: DeviceName, chosen: DeviceName, option: DeviceOption): string {
  if (device === chosen)
    return option === 'auto' ? ', and it is the fastest for host arrays' : ', and it was asked for';
  if (option !== 'auto') return `; ${chosen} is asked for`;
  if (device !== 'cuda') return `; ${chosen} is preferred`;
  const crossover = cudaProvider?.crossover ?? Number.POSITIVE_INFINITY;
  if (crossover === Number.POSITIVE_INFINITY)
    return `; chosen for tensors on the GPU, while host arrays go to ${chosen}`;
  return `; chosen for tensors on the GPU, and for host arrays from ${crossover} selections on`;
}

/** `auto` is the best for small host arrays, for which no GPU needs to be woken. */
function resolve(option: DeviceOption): DeviceName {
  if (option === 'auto') return probes.wasm().device !== undefined ? 'wasm' : 'js';
  if (preference.includes(option)) return option;
  throw new DispatchLayoutError('OPTION', `device is ${describe(option)}`, {
    value: option,
    remedy: `It must be one of ${['auto', ...preference].join(', ')}.`,
  });
}
