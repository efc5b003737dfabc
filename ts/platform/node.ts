/**
 * What differs between runtimes, where Node-API addons can be loaded: Node.js, Bun, Deno.
 *
 * @module
 */
import { nodeWorkers } from '../threads/node-workers.ts';
import { useWorkers } from '../threads/pool.ts';
import { ThreadedLayouts } from '../threads/threaded-layouts.ts';

export { cudaProvider } from '../cuda/provider.ts';
export { engineVersions } from '../engine-versions.ts';
export { disabledBy, log, settings } from '../settings.ts';

/** What layouts on several threads are computed with; undefined where there is no shared memory. */
export function threadedLayouts(): typeof ThreadedLayouts | undefined {
  if (typeof SharedArrayBuffer === 'undefined') return undefined;
  useWorkers(nodeWorkers);
  return ThreadedLayouts;
}

/** They are there. */
export async function loadThreads(): Promise<void> {}
