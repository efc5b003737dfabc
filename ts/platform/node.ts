/**
 * What differs between runtimes, for those that can load Node-API addons: Node.js, Bun and Deno.
 *
 * @module
 */
import { cudaDevice } from '../devices/cuda/device.ts';
import type { Device } from '../devices/device.ts';
import { jsDevice } from '../devices/js/device.ts';
import { createWasmDevice } from '../devices/wasm/device.ts';
import { embeddedKernel } from '../devices/wasm/embedded-kernel.ts';

export { disabledBy, log, settings } from '../devices/settings.ts';
export { embeddedOrder as orderModule } from '../devices/wasm/embedded-order.ts';

/** The devices, in order of preference. */
export const devices: readonly Device[] = [cudaDevice, createWasmDevice(embeddedKernel), jsDevice];
