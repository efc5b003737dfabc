/**
 * The kernel for Cloudflare workerd and Vercel's edge runtime: WebAssembly only as an import that the bundler compiles, since
 * compiling bytes is forbidden. Vercel asks for `?module`, Cloudflare allows it.
 *
 * @module
 */
import module from '../../kernel.wasm?module';

/** The kernel. */
export function kernelModule(): WebAssembly.Module {
  // Next.js compiles it in another realm than this code runs in, and the loader asks `instanceof`
  if (!(module instanceof WebAssembly.Module)) Object.setPrototypeOf(module, WebAssembly.Module.prototype);
  return module;
}

/** The same: it was compiled before this code ran. */
export async function compileKernel(): Promise<WebAssembly.Module> {
  return kernelModule();
}
