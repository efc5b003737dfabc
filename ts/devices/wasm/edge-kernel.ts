/**
 * The kernel for Cloudflare workerd and Vercel's edge runtime: WebAssembly only as an import that the bundler compiles, since
 * compiling bytes is forbidden. Vercel asks for `?module`, Cloudflare allows it.
 *
 * @module
 */
import module from '../../kernel.wasm?module';
import type { KernelSource } from './instance.ts';

/** It was compiled before this code runs. */
export const edgeKernel: KernelSource = {
  module() {
    // Next.js compiles it in another realm than this code runs in, and the loader asks `instanceof`
    if (!(module instanceof WebAssembly.Module)) Object.setPrototypeOf(module, WebAssembly.Module.prototype);
    return module;
  },
  async compile() {
    return this.module();
  },
};
