/**
 * What differs between runtimes, for browsers, their workers, and everything that is not known better. Package.json chooses
 * among the modules of this folder, under the name `#platform`.
 *
 * @module
 */
import type { CudaProvider } from '../devices.ts';

export { compileKernel, kernelModule } from '../embedded-kernel.ts';

/** There are no addons here. */
export const cudaProvider: CudaProvider | undefined = undefined;
