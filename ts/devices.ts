/**
 * The devices that `getDispatchLayout` can run on, in order of preference, and the choice among them.
 *
 * @module
 */
import { compileKernel } from '#kernel';
import { cudaProvider, disabledBy, engineVersions, log, settings } from '#platform';
import { describe } from './describe.ts';
import {
  type Device,
  type DeviceAvailability,
  type DeviceDescription,
  type DeviceName,
  deviceNames,
  type Obstacle,
  type StreamsDevice,
} from './device.ts';
import { DeviceUnavailableError, DispatchLayoutError, describeObstacle } from './errors.ts';
import { jsDevice } from './js-device.ts';
import { instantiateKernelAhead } from './kernel-instance.ts';
import type { Partition } from './partition.ts';
import { loadWasmDevice } from './wasm-device.ts';

/**
 * A device by name, or `auto`: `cuda` for ids that are on the GPU; for those in host arrays the first available of `wasm`
 * and `js`, or `cuda` where it is faster. The environment variable `DISPATCH_LAYOUT_DEVICE` gives `auto` another meaning.
 */
export type DeviceOption = 'auto' | DeviceName;

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
    code: 'NO_CUDA',
    reason: 'this is the build of dispatch-layout for browsers and edge runtimes, which has no CUDA',
    remedy:
      "Use Node.js, Bun or Deno; in a bundle for these, keep dispatch-layout external or set the condition 'node'.",
  };
}

let wasm: DeviceAvailability | undefined;

function probeWasm(): DeviceAvailability {
  if (wasm === undefined) {
    const disabled = disabledBy('wasm');
    if (disabled !== undefined) return { device: undefined, ...disabled };
    try {
      wasm = availableWasm();
    } catch (cause) {
      wasm = unavailableWasm(cause);
    }
  }
  return wasm;
}

function availableWasm(): DeviceAvailability {
  return { device: loadWasmDevice(), reason: 'WebAssembly with SIMD runs here', versions: engineVersions() };
}

function unavailableWasm(cause: unknown): DeviceAvailability {
  return { device: undefined, ...wasmObstacle(cause), cause, versions: engineVersions() };
}

function probeJs(): DeviceAvailability {
  const disabled = disabledBy('js');
  if (disabled !== undefined) return { device: undefined, ...disabled };
  return { device: jsDevice, reason: 'plain JavaScript runs everywhere', versions: engineVersions() };
}

/** In order of preference. Each is probed once, on first use. */
const probes: Readonly<Record<DeviceName, () => DeviceAvailability>> = {
  cuda: probeCuda,
  wasm: probeWasm,
  js: probeJs,
};

/** A module with one SIMD instruction: validating it tells an engine without SIMD from one that forbids compiling. */
const simdModule = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

function wasmObstacle(cause: unknown): Obstacle {
  if (typeof WebAssembly === 'undefined') {
    const remedy = 'Use a runtime with WebAssembly SIMD.';
    return { code: 'NO_WEBASSEMBLY', reason: 'this runtime has no WebAssembly', remedy };
  }
  const because = cause instanceof Error ? cause.message : String(cause);
  if (cause instanceof RangeError && because.includes('main thread')) {
    const remedy = 'Call `await prepare()` first, which compiles it asynchronously.';
    return { code: 'NEEDS_PREPARE', reason: `the kernel may not be compiled synchronously here (${because})`, remedy };
  }
  if (cause instanceof RangeError) {
    const remedy = "Drop groups and instances that are no longer needed, or use device: 'js'.";
    return { code: 'NO_MEMORY', reason: `there is no memory for the kernel (${because})`, remedy };
  }
  if (!WebAssembly.validate(simdModule)) {
    const remedy = 'Use a runtime with WebAssembly SIMD.';
    return { code: 'NO_SIMD', reason: `WebAssembly has no SIMD here (${because})`, remedy };
  }
  return {
    code: 'WEBASSEMBLY_FORBIDDEN',
    reason: `the kernel may not be compiled here (${because})`,
    remedy: "Allow 'wasm-unsafe-eval' in the content security policy.",
  };
}

/**
 * What an option means here: the environment may say what `auto` stands for.
 *
 * @throws DispatchLayoutError `ENVIRONMENT`
 */
export function readDeviceOption(option: DeviceOption = 'auto'): DeviceOption {
  if (option !== 'auto') return option;
  const { device } = settings();
  if (device !== 'auto') log(`DISPATCH_LAYOUT_DEVICE makes 'auto' mean '${device}'`);
  return device;
}

/**
 * The device for host arrays that an option names.
 *
 * @throws DeviceUnavailableError if it names one that cannot be used here; DispatchLayoutError `OPTION` if it names none.
 */
export function chooseDevice(option: DeviceOption): Device {
  const name = resolve(option);
  return available(name, probes[name](), option);
}

let compiling: Promise<void> | undefined;

/**
 * Has the kernel compiled without blocking, if the option may use it: also where a probe that had to compile it at once
 * failed.
 */
export async function makeAvailable(option: DeviceOption): Promise<void> {
  if ((option !== 'auto' && option !== 'wasm') || wasm?.device !== undefined || disabledBy('wasm') !== undefined)
    return;
  try {
    compiling ??= compileKernel().then(instantiateKernelAhead);
    await compiling;
    wasm = availableWasm();
  } catch (cause) {
    wasm = unavailableWasm(cause);
  } finally {
    compiling = undefined;
  }
}

/**
 * The device for tensors on the GPU.
 *
 * @throws DeviceUnavailableError; DispatchLayoutError `OPTION` if the option names a device that has no such tensors.
 */
export function chooseTensorDevice(option: DeviceOption): StreamsDevice {
  if (option === 'auto' || option === 'cuda') return available('cuda', probeCuda(), option);
  throw new DispatchLayoutError('OPTION', `topkIdx is on the GPU, and the group's device is ${describe(option)}`, {
    value: option,
    remedy: "Make the group with device: 'cuda', or copy the ids to the host.",
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
  const availability = probeCuda();
  if (isUsable('cuda', availability)) {
    log(`device 'cuda' computes host arrays from ${cudaProvider.crossover} selections on`);
    return availability.device;
  }
  // A shortage may pass: ask again after as many
  numSelectionsBeforeWaking = 0;
  return undefined;
}

/** The GPU, if anything was made there. */
export function cudaInUse(): StreamsDevice | undefined {
  return cudaProvider?.inUse;
}

function available<Kind extends Device>(
  name: DeviceName,
  availability: DeviceAvailability<Kind>,
  option: DeviceOption,
): Kind {
  if (!isAvailable(availability)) throw new DeviceUnavailableError(name, availability);
  log(`device '${name}' is chosen (device: '${option}'): ${availability.reason}`);
  return availability.device;
}

/** Whether `auto` can have a device that it prefers. */
function isUsable<Kind extends Device>(
  name: DeviceName,
  availability: DeviceAvailability<Kind>,
): availability is Extract<DeviceAvailability<Kind>, { readonly device: Kind }> {
  if (isAvailable(availability)) return true;
  log(`device '${name}' is not available (${availability.code}): ${availability.reason}`);
  return false;
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
 * @throws {@link DispatchLayoutError} `OPTION` if `option` names no device; `ENVIRONMENT`.
 */
export function describeDevices(option: DeviceOption = 'auto'): readonly DeviceDescription[] {
  const chosen = resolve(readDeviceOption(option));
  return deviceNames.map((device) => {
    const availability = probes[device]();
    if (!isAvailable(availability)) return describeObstacle(device, availability);
    return {
      device,
      available: true,
      chosen: device === chosen,
      code: 'AVAILABLE',
      reason: availability.reason + because(device, chosen, option),
      versions: availability.versions,
    };
  });
}

function because(device: DeviceName, chosen: DeviceName, option: DeviceOption): string {
  const isForced = readDeviceOption(option) !== option;
  const asks = isForced ? `DISPATCH_LAYOUT_DEVICE asks for ${chosen}` : `${chosen} is asked for`;
  if (device === chosen && option === 'auto' && !isForced) return ', and it is the fastest for host arrays';
  if (option !== 'auto' || isForced) return device === chosen ? `, and ${asks}` : `; ${asks}`;
  if (device !== 'cuda') return `; ${chosen} is preferred`;
  const crossover = cudaProvider?.crossover ?? Number.POSITIVE_INFINITY;
  if (crossover === Number.POSITIVE_INFINITY)
    return `; chosen for tensors on the GPU, while host arrays go to ${chosen}`;
  return `; chosen for tensors on the GPU, and for host arrays from ${crossover} selections on`;
}

/** `auto` is the best for small host arrays, for which no GPU needs to be woken. */
function resolve(option: DeviceOption): DeviceName {
  if (option === 'auto') return isUsable('wasm', probes.wasm()) ? 'wasm' : 'js';
  if (deviceNames.includes(option)) return option;
  throw new DispatchLayoutError('OPTION', `device is ${describe(option)}`, {
    value: option,
    remedy: `It must be one of ${['auto', ...deviceNames].join(', ')}.`,
  });
}
