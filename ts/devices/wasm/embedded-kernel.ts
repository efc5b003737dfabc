/**
 * The kernel that is embedded in the JavaScript as text.
 *
 * @module
 */
import { moduleText } from '../../generated/kernel.ts';
import { decodeModule } from './decode-module.ts';
import type { KernelSource } from './instance.ts';

let compiled: WebAssembly.Module | undefined;

/**
 * The source of the embedded kernel. It is compiled once, by whichever method is called first. Browsers that limit
 * synchronous compilation allow `compile`.
 */
export const embeddedKernel: KernelSource = {
  module() {
    compiled ??= new WebAssembly.Module(decodeModule(moduleText));
    return compiled;
  },
  async compile() {
    compiled ??= await WebAssembly.compile(decodeModule(moduleText));
    return compiled;
  },
};
