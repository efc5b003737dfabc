/**
 * The kernel for Cloudflare workerd and Vercel's edge runtime. It is an import that the bundler compiles, since these
 * runtimes forbid compiling bytes. Vercel requires `?module`, and Cloudflare allows it.
 *
 * @module
 */
import module from '../../kernel.wasm?module';
import type { KernelSource } from './instance.ts';

/** The source of a module that was compiled before this code runs. */
export const edgeKernel: KernelSource = {
  module() {
    // Next.js compiles the module in another realm than that of this code, and the loader checks it with `instanceof`
    if (!(module instanceof WebAssembly.Module)) Object.setPrototypeOf(module, WebAssembly.Module.prototype);
    return module;
  },
  async compile() {
    return this.module();
  },
};
