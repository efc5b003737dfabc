/**
 * What differs between runtimes, for Cloudflare workerd and Vercel's edge runtime: no addons.
 *
 * @module
 */

import type { CudaProvider } from '../devices.ts';

export { engineVersions } from '../engine-versions.ts';
export { disabledBy, log, settings } from '../settings.ts';

/** There are no addons here. */
export const cudaProvider: CudaProvider | undefined = undefined;
