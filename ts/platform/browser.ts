/**
 * What differs between runtimes, for browsers, their workers, and every runtime that is not recognised. Package.json
 * chooses among the modules of this folder, under the name `#platform`.
 *
 * @module
 */

// The kernel is imported first, so that it also comes first in a bundle. In the middle of the code, it would add half a
// kilobyte to the compressed bundle.

import { embeddedKernel } from '../devices/wasm/embedded-kernel.ts';
// Everything else is imported after the kernel.

import type { Device } from '../devices/device.ts';
import { jsDevice } from '../devices/js/device.ts';
import { noCuda } from '../devices/no-cuda.ts';
import type { Settings } from '../devices/settings.ts';
import { createWasmDevice } from '../devices/wasm/device.ts';

/** The devices, in order of preference. */
export const devices: readonly Device[] = [noCuda, createWasmDevice(embeddedKernel), jsDevice];

/** The settings are always the default ones, since there is no environment here. */
export function settings(): Settings {
  return { device: 'auto', disabled: [], isLogged: false };
}

/** No device is ever disabled, since there is no environment in which to ask for it. */
export function disabledBy(): undefined {}

/** Nothing is ever logged, since there is no environment in which to ask for it. */
export function log(): void {}

export { embeddedOrder as orderModule } from '../devices/wasm/embedded-order.ts';
