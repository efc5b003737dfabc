/**
 * What differs between runtimes, for browsers, their workers, and everything that is not known better. Package.json chooses
 * among the modules of this folder, under the name `#platform`.
 *
 * @module
 */

import type { DeviceVersions } from '../device.ts';
import type { CudaProvider } from '../devices.ts';
import type { Settings } from '../settings.ts';
import type { ThreadedLayouts } from '../threads/threaded-layouts.ts';

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

let threads: typeof ThreadedLayouts | undefined;
let loading: Promise<void> | undefined;

/**
 * What layouts on several threads are computed with, in a chunk of its own, which pages without threads do not pay for:
 * undefined until it is loaded, and where there is no shared memory.
 */
export function threadedLayouts(): typeof ThreadedLayouts | undefined {
  if (threads === undefined) void loadThreads();
  return threads;
}

/** Loads that chunk, where workers and memory that they share are there. */
export function loadThreads(): Promise<void> {
  if (typeof SharedArrayBuffer === 'undefined' || typeof Worker === 'undefined') return Promise.resolve();
  loading ??= load();
  return loading;
}

async function load(): Promise<void> {
  try {
    const [{ ThreadedLayouts }, { useWorkers }, { browserWorkers }] = await Promise.all([
      import('../threads/threaded-layouts.ts'),
      import('../threads/pool.ts'),
      import('../threads/browser-workers.ts'),
    ]);
    useWorkers(browserWorkers);
    threads = ThreadedLayouts;
  } catch (error) {
    // The layouts are computed on this thread
    loading = undefined;
    console.warn('dispatch-layout: threads cannot be loaded', error);
  }
}
