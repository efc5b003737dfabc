/**
 * The devices by name, and why each can be used here or not. Imports nothing.
 *
 * @module
 */

/** All devices, in order of preference. */
export const deviceNames = ['cuda', 'wasm', 'js'] as const;

/** The devices behind `getDispatchLayout`. */
export type DeviceName = (typeof deviceNames)[number];

/**
 * A device by name, or `auto`: `cuda` for ids that are on the GPU; for those in host arrays the first available of `wasm`
 * and `js`, or `cuda` where it is faster. The environment variable `DISPATCH_LAYOUT_DEVICE` gives `auto` another meaning.
 */
export type DeviceOption = 'auto' | DeviceName;

/** The stable identifiers of what keeps a device from being used. */
export type ObstacleCode =
  /** `DISPATCH_LAYOUT_DISABLE` names the device. */
  | 'DISABLED'
  /** `wasm`: the runtime has no WebAssembly. */
  | 'NO_WEBASSEMBLY'
  /** `wasm`: WebAssembly runs here, without SIMD. */
  | 'NO_SIMD'
  /** `wasm`: compiling is forbidden, such as by a content security policy. */
  | 'WEBASSEMBLY_FORBIDDEN'
  /** `wasm`: the browser compiles nothing of this size synchronously on a page's main thread. */
  | 'NEEDS_PREPARE'
  /** `wasm`: there is no memory for the kernel. */
  | 'NO_MEMORY'
  /** `cuda`: this is the build for browsers and edge runtimes. */
  | 'NO_CUDA'
  /** `cuda`: the runtime loads no Node-API addons, or is told not to. */
  | 'ADDONS_FORBIDDEN'
  /** `cuda`: there is no addon for this operating system and processor. */
  | 'UNSUPPORTED_PLATFORM'
  /** `cuda`: the addon is not where it should be. */
  | 'ADDON_MISSING'
  /** `cuda`: the addon is there and cannot be loaded, or is of another version. */
  | 'ADDON_BROKEN'
  /** `cuda`: there is no NVIDIA driver. */
  | 'NO_DRIVER'
  /** `cuda`: the driver is older than the addon's CUDA. */
  | 'OLD_DRIVER'
  /** `cuda`: the driver finds no GPU. */
  | 'NO_GPU'
  /** `cuda`: the GPU is too old, or lacks what is needed. */
  | 'UNSUPPORTED_GPU'
  /** `cuda`: the driver fails when it is asked. */
  | 'DRIVER_ERROR'
  /** `cuda`: a first layout fails on the GPU, or is wrong. */
  | 'SELF_CHECK_FAILED'
  /** `cuda`: an error has cost the process its CUDA context. */
  | 'CONTEXT_LOST';

/** Versions of what a device stands on, as far as they are known, such as `{ node: '22.1.0', v8: '12.4' }`. */
export type DeviceVersions = Readonly<Record<string, string>>;

/** Why a device cannot be used here. */
export interface Obstacle {
  /** What kind of obstacle it is. */
  readonly code: ObstacleCode;
  /** A clause, without full stop. */
  readonly reason: string;
  /** What to do about it, in sentences. */
  readonly remedy: string;
  /** The error behind it. */
  readonly cause?: unknown;
  /** The versions of what was found of it. */
  readonly versions?: DeviceVersions;
}

/** Whether a device can be used here, and why. */
export type Availability =
  | { readonly isAvailable: true; readonly reason: string; readonly versions: DeviceVersions }
  | ({ readonly isAvailable: false } & Obstacle);

/** Why a group with some option computes host arrays on a device, or why it does not. */
export type ChoiceCode =
  /** Chosen: `auto` takes it, since it is the fastest for host arrays. */
  | 'FASTEST'
  /** Chosen: the option names it. */
  | 'ASKED_FOR'
  /** Chosen: `DISPATCH_LAYOUT_DEVICE` names it. */
  | 'ASKED_FOR_BY_ENVIRONMENT'
  /** Not chosen: `auto` takes another one. */
  | 'OTHER_IS_FASTER'
  /** Not chosen: the option names another one. */
  | 'OTHER_IS_ASKED_FOR'
  /** Not chosen: `DISPATCH_LAYOUT_DEVICE` names another one. */
  | 'OTHER_IS_ASKED_FOR_BY_ENVIRONMENT'
  /** Not chosen for usual host arrays: `auto` takes it for large ones, and for tensors that are on the device. */
  | 'FOR_LARGE_ARRAYS'
  /** Not chosen for host arrays: `auto` takes it for tensors that are on the device. */
  | 'FOR_TENSORS'
  /** Not chosen: it cannot be used here. */
  | 'UNAVAILABLE';

/** What one device can do here, and whether it would be chosen. */
export interface DeviceDescription {
  /** Its name. */
  readonly device: DeviceName;
  /** Whether it can be used here. */
  readonly available: boolean;
  /** Whether a group with the option that was asked about computes host arrays on it. */
  readonly chosen: boolean;
  /** Why it is chosen, or not. */
  readonly choice: ChoiceCode;
  /** From how many selections (`numTokens * numTopk`) on `auto` takes it for host arrays; `Infinity` for never. */
  readonly fromSelections: number;
  /** `AVAILABLE`, or what keeps it from being used. */
  readonly code: 'AVAILABLE' | ObstacleCode;
  /** Why it is available or not: a clause, without full stop. */
  readonly reason: string;
  /** The error that keeps it from being used, where there is one. */
  readonly cause?: unknown;
  /** The versions of what it stands on; empty where nothing is known. */
  readonly versions: DeviceVersions;
  /** What to do to make it available, where it is not. */
  readonly remedy?: string;
}

/** What keeps a device from being used, as `describeDevices` tells it. */
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
