/**
 * What differs between runtimes, where Node-API addons can be loaded: Node.js, Bun, Deno.
 *
 * @module
 */

export { cudaProvider } from '../cuda/provider.ts';
export { engineVersions } from '../engine-versions.ts';
export { disabledBy, log, settings } from '../settings.ts';
