/**
 * What differs between runtimes, for browsers, their workers, and everything that is not known better. Package.json chooses
 * among the modules of this folder, under the name `#platform`.
 *
 * @module
 */

// The kernel comes first, so that it is first in a bundle, too: amid code it takes half a kilobyte more when compressed.

import { embeddedKernel } from '../devices/wasm/embedded-kernel.ts';
// Everything else.

import type { Device } from '../devices/device.ts';
import { jsDevice } from '../devices/js.ts';
import { noCuda } from '../devices/no-cuda.ts';
import type { Settings } from '../devices/settings.ts';
import { createWasmDevice } from '../devices/wasm/device.ts';

/** In order of preference. */
export const devices: readonly Device[] = [noCuda, createWasmDevice(embeddedKernel), jsDevice];

/** There is no environment here. */
export function settings(): Settings {
  return { device: 'auto', disabled: [], isLogged: false };
}

/** No device is disabled: nobody can ask for it. */
export function disabledBy(): undefined {}

/** Nothing is logged: nobody can ask for it. */
export function log(): void {}
