/**
 * The loaded addon, and what the driver says. Both are found out on first use, and kept.
 *
 * @module
 */
import type { DeviceVersions, Obstacle } from '../../errors/availability.ts';
import { DeviceUnavailableError } from '../../errors/errors.ts';
import { disabledBy } from '../settings.ts';
import type { CudaAddon, CudaDeviceProperties, DriverReport } from './addon.ts';
import { fatalCudaError, isPassing, withoutFullStop } from './cuda-error.ts';
import { type AddonSearch, loadAddon } from './load-addon.ts';
import { cudaSettings } from './settings.ts';

/** CUDA, ready for use, or the reason why it is not. */
export type CudaRuntime =
  | {
      readonly addon: CudaAddon;
      readonly reason: string;
      readonly versions: DeviceVersions;
      readonly isPassing?: undefined;
    }
  | ({
      readonly addon: undefined;
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
  const runtime = cudaRuntime();
  if (runtime.addon !== undefined) return runtime.addon;
  throw new DeviceUnavailableError('cuda', runtime);
}

/**
 * Returns the addon to code that uses something that was made with it. It is returned even if the CUDA context has been
 * lost since: a call then throws the real error.
 */
export function addonInUse(): CudaAddon {
  return found?.addon ?? cudaAddon();
}

/** Whether the addon is loaded and its context is not lost, so that something may have been made on the GPU. */
export function isCudaInUse(): boolean {
  return found?.addon !== undefined && fatalCudaError() === undefined;
}

function findRuntime(): CudaRuntime {
  const disabled = disabledBy('cuda');
  if (disabled !== undefined) return { addon: undefined, ...disabled };
  const { addonPath } = cudaSettings();
  try {
    return askDriver(loadAddon(addonPath));
  } catch (cause) {
    return {
      addon: undefined,
      code: 'DRIVER_ERROR',
      reason: `looking for the GPU fails (${withoutFullStop(cause)})`,
      remedy: "Use device: 'wasm' or 'auto'.",
      cause,
    };
  }
}

function askDriver(search: AddonSearch): CudaRuntime {
  if (search.addon === undefined) return search;
  const report = search.addon.probe();
  const versions = versionsOf(report);
  const device = report.devices[0];
  if (report.error !== null || device === undefined) {
    return { addon: undefined, ...explain(report), versions, isPassing: isPassing(report.error?.cudaName) };
  }
  const name = `${device.name} (compute capability ${device.major}.${device.minor})`;
  const code = 'UNSUPPORTED_GPU';
  if (isOld(device)) {
    return {
      addon: undefined,
      code,
      reason: `${name} is older than compute capability ${oldestCapability.major}.${oldestCapability.minor}`,
      remedy: "Use device: 'wasm', or choose another GPU by CUDA_VISIBLE_DEVICES.",
      versions,
    };
  }
  if (!device.hasMemoryPools) {
    return {
      addon: undefined,
      code,
      reason: `the driver has no stream-ordered memory pools for ${name}`,
      remedy: "Use device: 'wasm', or a GPU that is not shared by a virtual machine monitor.",
      versions,
    };
  }
  const memory = `${(device.totalMemory / 2 ** 30).toFixed(0)} GiB`;
  const others = report.devices.length > 1 ? `, the first of ${report.devices.length} GPUs` : '';
  const reason = `${name}, ${memory}${others}; driver for CUDA ${versions.driver}, addon of CUDA ${versions.addon}`;
  return { addon: search.addon, reason, versions };
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
      remedy: `Install the NVIDIA driver, 580 or later; ${inContainer}. ${otherwise}`,
    };
  }
  if (error?.cudaName === 'cudaErrorInsufficientDriver') {
    return {
      code: 'OLD_DRIVER',
      reason: `the NVIDIA driver is too old: it is for CUDA ${version(driverVersion)}, and the addon needs ${version(runtimeVersion)} (${failure})`,
      remedy: `Update the NVIDIA driver to 580 or later. ${otherwise}`,
    };
  }
  if (error === null || error.cudaName === 'cudaErrorNoDevice') {
    return {
      code: 'NO_GPU',
      reason: `the driver finds no GPU (${failure})`,
      remedy: `Check nvidia-smi and CUDA_VISIBLE_DEVICES; ${inContainer}. ${otherwise}`,
    };
  }
  return {
    code: 'DRIVER_ERROR',
    reason: `the driver reports an error (${failure}, ${error.cudaMessage})`,
    remedy: `Check nvidia-smi and the system log. ${otherwise}`,
  };
}

function version(number: number): string {
  return `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}`;
}
