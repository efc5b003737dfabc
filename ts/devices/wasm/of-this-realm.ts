/**
 * Modules that a bundler has compiled.
 *
 * @module
 */

/**
 * Returns the module itself. Next.js compiles it in another realm than that of this code, and `instanceof` is then used
 * to check it.
 */
export function ofThisRealm(module: WebAssembly.Module): WebAssembly.Module {
  if (!(module instanceof WebAssembly.Module)) Object.setPrototypeOf(module, WebAssembly.Module.prototype);
  return module;
}
