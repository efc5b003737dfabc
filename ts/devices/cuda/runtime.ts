/**
 * The loaded addon, and what the driver says. Both are found out on first use, and kept.
 *
 * @module
 */
import { type DeviceName, type DeviceVersions, type Obstacle, ordinalIn } from '../../errors/availability.ts';
import { wrongValue } from '../../errors/checks.ts';
import { DeviceUnavailableError } from '../../errors/errors.ts';
import { disabledBy, settings } from '../settings.ts';
import type { CudaAddon, CudaDeviceProperties, CudaDeviceReport, DriverReport } from './addon.ts';
import { fatalCudaError, isPassing, withoutFullStop } from './cuda-error.ts';
import { type AddonSearch, loadAddon } from './load-addon.ts';
import { cudaSettings } from './settings.ts';

/** A GPU. There is one object for each. */
export interface Gpu {
  /** CUDA's number of it. */
  readonly ordinal: number;
  /** The device option that chooses it. */
  readonly name: DeviceName;
  /** What it is, for messages. */
  readonly label: string;
  readonly properties: CudaDeviceProperties | undefined;
  /** Why it cannot be used, as far as the driver tells. */
  readonly obstacle: Obstacle | undefined;
}

/** CUDA, ready for use, or the reason why it is not. */
export type CudaRuntime =
  | {
      readonly addon: CudaAddon;
      /** All GPUs, by ordinal. */
      readonly gpus: readonly Gpu[];
      /** The first one that can be used: what `cuda` means. */
      readonly first: Gpu;
      readonly versions: DeviceVersions;
      readonly isPassing?: undefined;
    }
  | ({
      readonly addon: undefined;
      /** The GPUs that the driver finds. */
      readonly gpus: readonly Gpu[];
      /** Whether asking again may help. */
      readonly isPassing?: boolean;
    } & Obstacle);

/** The oldest generation that the addon holds machine code for: Turing. */
const oldestCapability = { major: 7, minor: 5 };

const otherwise = "Or use device: 'wasm'.";
const inContainer = 'in a container, pass the GPU through (docker run --gpus all)';

let found: CudaRuntime | undefined;

/**
 * Loads the addon and asks the driver. This is done once, and again only if the cause of a failure may have passed. It
 * creates no CUDA context. If anything goes wrong, the reason is returned.
 *
 * @throws DispatchLayoutError `ENVIRONMENT`
 */
export function cudaRuntime(): CudaRuntime {
  if (found === undefined || found.isPassing) found = findRuntime();
  const fatal = fatalCudaError();
  if (fatal === undefined || found.addon === undefined) return found;
  return {
    addon: undefined,
    gpus: found.gpus,
    code: 'CONTEXT_LOST',
    reason: `the process has lost its CUDA context (${fatal.call}: ${fatal.cudaName})`,
    remedy: 'Restart the process.',
    cause: fatal,
    versions: found.versions,
  };
}

/**
 * Returns the addon to code that makes something new with it.
 *
 * @throws DeviceUnavailableError
 */
export function cudaAddon(): CudaAddon {
  return readyRuntime().addon;
}

function readyRuntime(): Extract<CudaRuntime, { readonly addon: CudaAddon }> {
  const runtime = cudaRuntime();
  if (runtime.addon !== undefined) return runtime;
  throw new DeviceUnavailableError('cuda', runtime);
}

/**
 * Returns the addon to code that uses something that was made with it. It is returned even if the CUDA context has been
 * lost since: a call then throws the real error.
 */
export function addonInUse(): CudaAddon {
  return found?.addon ?? cudaAddon();
}

function findRuntime(): CudaRuntime {
  const disabled = disabledBy('cuda');
  if (disabled !== undefined) return { addon: undefined, gpus: [], ...disabled };
  const { addonPath } = cudaSettings();
  try {
    return askDriver(loadAddon(addonPath));
  } catch (cause) {
    return {
      addon: undefined,
      gpus: [],
      code: 'DRIVER_ERROR',
      reason: `looking for the GPU fails (${withoutFullStop(cause)})`,
      remedy: "Use device: 'wasm' or 'auto'.",
      cause,
    };
  }
}

function askDriver(search: AddonSearch): CudaRuntime {
  if (search.addon === undefined) return { gpus: [], ...search };
  const report = search.addon.probe();
  const versions = versionsOf(report);
  if (report.error !== null || report.devices.length === 0) {
    const isPassingError = isPassing(report.error?.cudaName);
    return { addon: undefined, gpus: [], ...explain(report), versions, isPassing: isPassingError };
  }
  const obstacles = report.devices.map((device) => obstacleOf(device));
  const firstOrdinal = obstacles.indexOf(undefined);
  const gpus = report.devices.map((device, ordinal): Gpu => {
    const properties = device.error ? undefined : device;
    const name = ordinal === firstOrdinal ? 'cuda' : (`cuda:${ordinal}` as const);
    return { ordinal, name, label: labelOf(device), properties, obstacle: obstacles[ordinal] };
  });
  if (firstOrdinal >= 0) return { addon: search.addon, gpus, first: gpus[firstOrdinal], versions };
  // If several GPUs cannot be used, the first one stands for the others
  const isPassingError = report.devices.some(({ error }) => isPassing(error?.cudaName));
  return { addon: undefined, gpus, ...(obstacles[0] as Obstacle), versions, isPassing: isPassingError };
}

function labelOf(device: CudaDeviceReport): string {
  return device.error ? `GPU ${device.ordinal}` : `${device.name} (compute capability ${device.major}.${device.minor})`;
}

/** Why a GPU cannot be used, as far as the driver tells. */
function obstacleOf(device: CudaDeviceReport): Obstacle | undefined {
  if (device.error) {
    const { call, cudaName, cudaMessage } = device.error;
    return {
      code: 'DRIVER_ERROR',
      reason: `the driver reports an error for ${labelOf(device)} (${call}: ${cudaName}, ${cudaMessage})`,
      remedy: `Check nvidia-smi and the system log. ${otherwise}`,
    };
  }
  if (!isOld(device)) return undefined;
  return {
    code: 'UNSUPPORTED_GPU',
    reason: `${labelOf(device)} is older than compute capability ${oldestCapability.major}.${oldestCapability.minor}`,
    remedy: "Use device: 'wasm', or choose another GPU by CUDA_VISIBLE_DEVICES.",
  };
}

/** What can be said of a GPU that can be used: a clause without a full stop. */
export function reasonOf(gpu: Gpu): string {
  const { gpus, versions } = found as CudaRuntime;
  const { totalMemory = 0, hasMemoryPools } = gpu.properties ?? {};
  const others = gpus.length > 1 ? `, GPU ${gpu.ordinal} of ${gpus.length}` : '';
  const pools = hasMemoryPools ? '' : ', without memory pools, so that disposing of a tensor waits for the GPU';
  const memory = `${(totalMemory / 2 ** 30).toFixed(0)} GiB`;
  return `${gpu.label}, ${memory}${others}${pools}; driver for CUDA ${versions?.driver}, addon of CUDA ${versions?.addon}`;
}

/**
 * Returns the GPU that a device option names, to code that makes something new on it.
 *
 * @throws DeviceUnavailableError; DispatchLayoutError `TENSOR` if it is no name of a GPU.
 */
export function gpuNamed(name: unknown): Gpu {
  const runtime = readyRuntime();
  if (name === 'cuda') return runtime.first;
  const ordinal = typeof name === 'string' ? ordinalIn(name) : undefined;
  if (ordinal === undefined) {
    throw wrongValue('TENSOR', 'device', name, `It must be ${listed(runtime.gpus)}.`);
  }
  const gpu = runtime.gpus[ordinal];
  const obstacle = gpu === undefined ? noSuchGpu(ordinal, runtime.gpus) : gpu.obstacle;
  if (obstacle !== undefined) throw new DeviceUnavailableError(name as DeviceName, obstacle);
  return gpu;
}

/** The GPU with this ordinal, which the driver has named. */
export function gpuAt(ordinal: number): Gpu {
  return (found as CudaRuntime).gpus[ordinal];
}

/** What `cuda` means. It is returned even if the CUDA context has been lost since: a call then throws the real error. */
export function firstGpu(): Gpu {
  return (found?.addon === undefined ? readyRuntime() : found).first;
}

/** The GPU of what is made without saying where: the one that `DISPATCH_LAYOUT_DEVICE` names, else the first one. */
export function defaultGpu(): Gpu {
  const { device } = settings();
  return ordinalIn(device) === undefined ? firstGpu() : gpuNamed(device);
}

/** The GPUs on which something was made. */
const inUse = new Set<Gpu>();

/** Must be called when something is made on a GPU. */
export function useGpu(gpu: Gpu): void {
  inUse.add(gpu);
}

/** The GPUs on which something was made, if the CUDA context is not lost. */
export function gpusInUse(): readonly Gpu[] {
  return fatalCudaError() === undefined ? [...inUse] : [];
}

/** The reason why a GPU with this number cannot be used: there is none. */
export function noSuchGpu(ordinal: number, gpus: readonly Gpu[]): Obstacle {
  return {
    code: 'NO_GPU',
    reason: `there is no GPU ${ordinal}: the driver finds ${gpus.length} (${gpus.map(({ label }, i) => `${i}: ${label}`).join(', ')})`,
    remedy: `Use ${listed(gpus)}, or check CUDA_VISIBLE_DEVICES.`,
  };
}

function listed(gpus: readonly Gpu[]): string {
  return ['cuda', ...gpus.map(({ ordinal }) => `cuda:${ordinal}`)].map((name) => `'${name}'`).join(' or ');
}

/** The version of CUDA that the driver is for, if there is a driver, and the one that the addon was built with. */
function versionsOf({ driverVersion, runtimeVersion }: DriverReport): DeviceVersions {
  const addon = version(runtimeVersion);
  return driverVersion === 0 ? { addon } : { driver: version(driverVersion), addon };
}

function isOld({ major, minor }: CudaDeviceProperties): boolean {
  return major < oldestCapability.major || (major === oldestCapability.major && minor < oldestCapability.minor);
}

function explain({ driverVersion, runtimeVersion, error }: DriverReport): Obstacle {
  const failure = error === null ? 'cudaGetDeviceCount: no devices' : `${error.call}: ${error.cudaName}`;
  if (driverVersion === 0) {
    return {
      code: 'NO_DRIVER',
      reason: `there is no NVIDIA driver here (${failure})`,
      remedy: `Install the NVIDIA driver, ${driverFor(runtimeVersion)} or later; ${inContainer}. ${otherwise}`,
    };
  }
  if (error?.cudaName === 'cudaErrorInsufficientDriver') {
    return {
      code: 'OLD_DRIVER',
      reason: `the NVIDIA driver is too old: it is for CUDA ${version(driverVersion)}, and the addon is of CUDA ${version(runtimeVersion)} (${failure})`,
      remedy: `Update the NVIDIA driver to ${driverFor(runtimeVersion)} or later. ${otherwise}`,
    };
  }
  if (error === null || error.cudaName === 'cudaErrorNoDevice') {
    return {
      code: 'NO_GPU',
      reason: `the driver finds no GPU (${failure})`,
      remedy: `Check nvidia-smi and CUDA_VISIBLE_DEVICES; ${inContainer}. ${otherwise}`,
    };
  }
  if (error.cudaName === 'cudaErrorSystemNotReady') {
    return {
      code: 'DRIVER_ERROR',
      reason: `the driver is not ready yet (${failure})`,
      remedy: `Wait until the fabric manager runs (systemctl status nvidia-fabricmanager), and try again. ${otherwise}`,
    };
  }
  return {
    code: 'DRIVER_ERROR',
    reason: `the driver reports an error (${failure}, ${error.cudaMessage})`,
    remedy: `Check nvidia-smi and the system log. ${otherwise}`,
  };
}

/**
 * The oldest driver that an addon runs with, given the version of CUDA that it was built with. Within a major version,
 * an older driver serves a newer runtime: https://docs.nvidia.com/deploy/cuda-compatibility
 */
function driverFor(runtimeVersion: number): number {
  return runtimeVersion < 13000 ? 525 : 580;
}

function version(number: number): string {
  return `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}`;
}
