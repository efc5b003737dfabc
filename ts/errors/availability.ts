/**
 * The names of the devices, and why each of them can or cannot be used here. This module imports nothing.
 *
 * @module
 */

/** All devices, in order of preference. Several GPUs count as one device here. */
export const deviceNames = ['cuda', 'wasm', 'js'] as const;

/** One of several GPUs, by the number that CUDA gives it, from 0 on. */
export type GpuName = `cuda:${number}`;

/** How messages write the name of any GPU. */
export const anyGpuName = 'cuda:N';

/** The number in the name of a GPU; undefined if it is no such name. */
export function ordinalIn(name: string): number | undefined {
  const digits = /^cuda:(0|[1-9]\d{0,5})$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/**
 * The name of a device that `getDispatchLayout` can compute on. `cuda` is the first GPU that can be used; another one is
 * named by its number.
 */
export type DeviceName = 'cuda' | GpuName | 'wasm' | 'js';

/**
 * A device by name, or `auto`. For ids on a GPU, `auto` means that GPU. For ids in host arrays, it means the first of
 * `wasm` and `js` that is available, or `cuda` where that is faster. The environment variable `DISPATCH_LAYOUT_DEVICE`
 * can give `auto` another meaning.
 */
export type DeviceOption = 'auto' | DeviceName;

/** A stable identifier of what keeps a device from being used. */
export type ObstacleCode =
  /** `DISPATCH_LAYOUT_DISABLE` names the device. */
  | 'DISABLED'
  /** `wasm`: the runtime has no WebAssembly. */
  | 'NO_WEBASSEMBLY'
  /** `wasm`: WebAssembly runs here, but without SIMD. */
  | 'NO_SIMD'
  /** `wasm`: compiling is forbidden, for example by a content security policy. */
  | 'WEBASSEMBLY_FORBIDDEN'
  /** `wasm`: the browser refuses to compile a module of this size synchronously on a page's main thread. */
  | 'NEEDS_PREPARE'
  /** `wasm`: there is not enough memory for the kernel. */
  | 'NO_MEMORY'
  /** `cuda`: this is the build for browsers and edge runtimes, which has no CUDA. */
  | 'NO_CUDA'
  /** `cuda`: the runtime cannot load Node-API addons, or was told not to. */
  | 'ADDONS_FORBIDDEN'
  /** `cuda`: there is no addon for this operating system and processor. */
  | 'UNSUPPORTED_PLATFORM'
  /** `cuda`: the addon is not where it should be. */
  | 'ADDON_MISSING'
  /** `cuda`: the addon is there, but it cannot be loaded, or it is of another version. */
  | 'ADDON_BROKEN'
  /** `cuda`: there is no NVIDIA driver. */
  | 'NO_DRIVER'
  /** `cuda`: the driver is older than the addon's CUDA. */
  | 'OLD_DRIVER'
  /** `cuda`: the driver finds no GPU, or none with the number that was asked for. */
  | 'NO_GPU'
  /** `cuda`: the GPU is too old. */
  | 'UNSUPPORTED_GPU'
  /** `cuda`: the driver reports an error when it is asked for its GPUs. */
  | 'DRIVER_ERROR'
  /** `cuda`: a first layout fails on the GPU, or its result is wrong. */
  | 'SELF_CHECK_FAILED'
  /** `cuda`: the process has lost its CUDA context because of an earlier error. */
  | 'CONTEXT_LOST';

/**
 * Versions of the software that a device depends on, as far as they are known, for instance `{ node: '22.1.0', v8:
 * '12.4' }`.
 */
export type DeviceVersions = Readonly<Record<string, string>>;

/** Why a device cannot be used here. */
export interface Obstacle {
  /** What kind of obstacle it is. */
  readonly code: ObstacleCode;
  /** Why the device cannot be used: a clause without a full stop. */
  readonly reason: string;
  /** What to do about it, in full sentences. */
  readonly remedy: string;
  /** The error that revealed the obstacle, if there was one. */
  readonly cause?: unknown;
  /** The versions of those parts of the device that were found. */
  readonly versions?: DeviceVersions;
}

/** Whether a device can be used here, and why or why not. */
export type Availability =
  | { readonly isAvailable: true; readonly reason: string; readonly versions: DeviceVersions }
  | ({ readonly isAvailable: false } & Obstacle);

/** Why a group that was made with a given device option computes host arrays on a device, or why it does not. */
export type ChoiceCode =
  /** Chosen: `auto` takes the device, since it is the fastest one for host arrays. */
  | 'FASTEST'
  /** Chosen: the option names the device. */
  | 'ASKED_FOR'
  /** Chosen: `DISPATCH_LAYOUT_DEVICE` names the device. */
  | 'ASKED_FOR_BY_ENVIRONMENT'
  /** Not chosen: `auto` takes another device. */
  | 'OTHER_IS_FASTER'
  /** Not chosen: the option names another device. */
  | 'OTHER_IS_ASKED_FOR'
  /** Not chosen: `DISPATCH_LAYOUT_DEVICE` names another device. */
  | 'OTHER_IS_ASKED_FOR_BY_ENVIRONMENT'
  /**
   * Not chosen for host arrays of the usual size: `auto` takes the device for large ones, and for tensors that are on
   * the device.
   */
  | 'FOR_LARGE_ARRAYS'
  /** Not chosen for host arrays: `auto` takes the device only for tensors that are on the device. */
  | 'FOR_TENSORS'
  /** Not chosen: the device cannot be used here. */
  | 'UNAVAILABLE';

/** A GPU of this machine, as the driver describes it. */
export interface GpuDescription {
  /** The device option that chooses it: `cuda` for the first one that can be used, such as `cuda:1` for another one. */
  readonly device: DeviceName;
  /** The number that CUDA gives it. `CUDA_VISIBLE_DEVICES` can hide GPUs and change their numbers. */
  readonly ordinal: number;
  /** What the driver calls it, such as `NVIDIA H100 80GB HBM3`. */
  readonly name: string;
  /** Its compute capability, such as `9.0`; empty if the driver does not tell. */
  readonly computeCapability: string;
  /** The bytes of its memory. */
  readonly totalMemory: number;
  /** Why it cannot be used; missing if nothing is known against it. Whether it works is found out on first use. */
  readonly reason?: string;
}

/** Whether a device can be used here, and whether it would be chosen. */
export interface DeviceDescription {
  /** Its name. */
  readonly device: DeviceName;
  /** Whether it can be used here. */
  readonly available: boolean;
  /** Whether a group with the device option that was asked about computes host arrays on it. */
  readonly chosen: boolean;
  /** Why it is chosen, or why it is not. */
  readonly choice: ChoiceCode;
  /**
   * The number of selections (`numTokens * numTopk`) from which `auto` takes the device for host arrays; `Infinity`
   * means never.
   */
  readonly fromSelections: number;
  /** `AVAILABLE`, or what keeps it from being used. */
  readonly code: 'AVAILABLE' | ObstacleCode;
  /** Why it is available, or why it is not: a clause without a full stop. */
  readonly reason: string;
  /** The error that keeps it from being used, where there is one. */
  readonly cause?: unknown;
  /** The versions of the software that it depends on; empty where nothing is known. */
  readonly versions: DeviceVersions;
  /** What to do to make the device available, if it is not. */
  readonly remedy?: string;
  /** `cuda`: every GPU that the driver finds. The other devices do not have this. */
  readonly gpus?: readonly GpuDescription[];
}

/** The description by which `describeDevices` reports an obstacle. */
export function describeObstacle(device: DeviceName, obstacle: Obstacle): DeviceDescription {
  const { code, reason, cause, versions = {}, remedy } = obstacle;
  return {
    device,
    available: false,
    chosen: false,
    choice: 'UNAVAILABLE',
    fromSelections: Number.POSITIVE_INFINITY,
    code,
    reason,
    ...(cause !== undefined && { cause }),
    versions,
    remedy,
  };
}
