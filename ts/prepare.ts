/**
 * Preparation ahead of the first layout. It is optional, and meant for pages that must not stall and for browsers that
 * limit synchronous compilation.
 *
 * @module
 */
import { prepareAhead } from './choose-device.ts';
import type { DeviceName, DeviceOption } from './errors/availability.ts';
import { checkOptions } from './errors/checks.ts';
import { ExpertGroup } from './expert-group.ts';
import { forgetGroups } from './last-group.ts';

/** Options of {@link prepare}. */
export interface PrepareOptions {
  /** What to prepare. Default `auto`: the device that host arrays will be computed on. */
  readonly device?: DeviceOption | undefined;
}

const prepareOptions: Readonly<Record<keyof PrepareOptions, true>> = { device: true };

/** The preparations that are finished or under way, so that none is made twice. */
const prepared = new Map<DeviceOption, Promise<DeviceName>>();

/**
 * Compiles the kernel without blocking this thread, and computes a few layouts to warm the device, so that the first
 * call is as fast as the later ones. Everything works without this: the first call then compiles the kernel, which
 * blocks the thread for some milliseconds.
 *
 * ```ts
 * import { prepare } from 'dispatch-layout';
 *
 * console.log(await prepare()); // wasm
 * ```
 *
 * Calling it again costs nothing, and concurrent calls share the work. Chromium before mid-2023 refuses to compile a
 * module of this size synchronously on a page's main thread. There, `auto` computes in plain JavaScript for groups that
 * are made before this promise has resolved, and in WebAssembly for later ones.
 *
 * As a callback, write `() => prepare()`, for instance in `requestIdleCallback(() => prepare())`, since an argument would
 * be read as the options.
 *
 * @returns the device that is ready. For `auto` that is `wasm`, or `js` where WebAssembly cannot be used, and the
 *   promise does not reject, unless the environment leaves no device.
 * @throws {@link DeviceUnavailableError} (the promise rejects) if `device` names a device that cannot be used here; a
 *   later call tries again.
 * @throws {@link DispatchLayoutError} `OPTION` if `device` names no device.
 */
export async function prepare(options: PrepareOptions = {}): Promise<DeviceName> {
  const { device = 'auto' } = checkOptions(options, prepareOptions);
  let ready = prepared.get(device);
  if (ready === undefined) {
    ready = makeReady(device);
    prepared.set(device, ready);
  }
  try {
    return await ready;
  } catch (error) {
    prepared.delete(device);
    throw error;
  }
}

async function makeReady(device: DeviceOption): Promise<DeviceName> {
  await prepareAhead(device);
  forgetGroups();
  // These are the usual id types and row widths; each combination has code of its own
  for (const numRanks of [8, 64]) {
    const group = new ExpertGroup({ numRanks, device });
    for (const ids of [new BigInt64Array(numWarmIds), new Int32Array(numWarmIds)]) {
      group.getDispatchLayout({ data: ids, shape: [numWarmIds / 8, 8] }, 64);
    }
  }
  return new ExpertGroup({ numRanks: 1, device }).device;
}

const numWarmIds = 1024;
