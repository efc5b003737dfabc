/**
 * The part of the kernel that orders rows, embedded in the JavaScript as text.
 *
 * @module
 */
import { moduleText } from '../../generated/order.ts';
import { decodeModule } from './decode-module.ts';

let compiled: WebAssembly.Module | undefined;

/** Returns the compiled module. It has at most 4 KiB, which every browser compiles synchronously. */
export function embeddedOrder(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(decodeModule(moduleText));
  return compiled;
}
