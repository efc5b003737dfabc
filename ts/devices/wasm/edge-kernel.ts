/**
 * The kernel for Cloudflare workerd and Vercel's edge runtime. It is an import that the bundler compiles, since these
 * runtimes forbid compiling bytes. Vercel requires `?module`, and Cloudflare allows it.
 *
 * @module
 */
import module from '../../kernel.wasm?module';
import type { KernelSource } from './instance.ts';
import { ofThisRealm } from './of-this-realm.ts';

/** The source of a module that was compiled before this code runs. */
export const edgeKernel: KernelSource = {
  module: () => ofThisRealm(module),
  async compile() {
    return this.module();
  },
};
