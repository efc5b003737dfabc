/**
 * Getting ready ahead of the first layout: optional, for pages that must not stall and for browsers that limit synchronous
 * compilation.
 *
 * @module
 */
import { prepareAhead } from './choose-device.ts';
import type { DeviceName, DeviceOption } from './errors/availability.ts';
import { checkOptions } from './errors/checks.ts';
import { ExpertGroup } from './expert-group.ts';
import { forgetLastGroup } from './get-dispatch-layout.ts';

/** Options of {@link prepare}. */
export interface PrepareOptions {
  /** What to get ready. Default `auto`: the device that host arrays will be computed on. */
  readonly device?: DeviceOption | undefined;
}

const prepareOptions: ReadonlySet<keyof PrepareOptions> = new Set(['device']);

/** What is ready or on its way, so that nothing is done twice. */
const prepared = new Map<DeviceOption, Promise<DeviceName>>();

/**
 * Compiles the kernel off this thread, and computes a few layouts to warm the device, so that the first call is as fast as
 * the later ones. Everything works without it: the first call then compiles, which blocks for some milliseconds.
 *
 * ```ts
 * import { prepare } from 'dispatch-layout';
 *
 * console.log(await prepare()); // wasm
 * ```
 *
 * Calling it again costs nothing, and calls at the same time share the work. Chromium before mid-2023 compiles nothing of
 * this size synchronously on a page's main thread: there `auto` computes in plain JavaScript for groups that are made
 * before this has resolved, and by WebAssembly for later ones.
 *
 * @returns the device that is ready. For `auto` that is `wasm`, or `js` where WebAssembly cannot be used; it does not reject,
 *   unless the environment leaves no device.
 * @throws {@link DeviceUnavailableError} (the promise rejects) if `device` names one that cannot be used here; a later call
 *   tries again.
 * @throws {@link DispatchLayoutError} `OPTION` if it names none.
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
  forgetLastGroup();
  // The types and row widths that are usual: each has code of its own
  for (const numRanks of [8, 64]) {
    const group = new ExpertGroup({ numRanks, device });
    for (const ids of [new BigInt64Array(numWarmIds), new Int32Array(numWarmIds)]) {
      group.getDispatchLayout({ data: ids, shape: [numWarmIds / 8, 8] }, 64);
    }
  }
  return new ExpertGroup({ numRanks: 1, device }).device;
}

const numWarmIds = 1024;
