/**
 * What differs between runtimes, for Cloudflare workerd and Vercel's edge runtime, which load no addons.
 *
 * @module
 */
import type { Device } from '../devices/device.ts';
import { jsDevice } from '../devices/js/device.ts';
import { noCuda } from '../devices/no-cuda.ts';
import { createWasmDevice } from '../devices/wasm/device.ts';
import { edgeKernel } from '../devices/wasm/edge-kernel.ts';

export { disabledBy, log, settings } from '../devices/settings.ts';
export { edgeOrder as orderModule } from '../devices/wasm/edge-order.ts';

/** The devices, in order of preference. */
export const devices: readonly Device[] = [noCuda, createWasmDevice(edgeKernel), jsDevice];
