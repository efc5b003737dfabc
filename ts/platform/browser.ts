/**
 * What differs between runtimes, for browsers, their workers, and everything that is not known better. Package.json chooses
 * among the modules of this folder, under the name `#platform`.
 *
 * @module
 */

import type { DeviceVersions } from '../device.ts';
import type { CudaProvider } from '../devices.ts';
import type { Settings } from '../settings.ts';

/** There are no addons here. */
export const cudaProvider: CudaProvider | undefined = undefined;

/** Browsers do not tell. */
export function engineVersions(): DeviceVersions {
  return {};
}

/** There is no environment here. */
export function settings(): Settings {
  return { device: 'auto', disabled: [], isLogged: false };
}

/** Nothing is. */
export function disabledBy(): undefined {}

/** Nobody can ask for it. */
export function log(): void {}
