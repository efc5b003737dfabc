/**
 * What differs between runtimes, where Node-API addons can be loaded: Node.js, Bun, Deno.
 *
 * @module
 */
export { cudaProvider } from '../cuda/provider.ts';
export { compileKernel, kernelModule } from '../embedded-kernel.ts';
