/**
 * The part of the kernel that orders rows, for Cloudflare workerd and Vercel's edge runtime: see `edge-kernel.ts`.
 *
 * @module
 */
import module from '../../order.wasm?module';
import { ofThisRealm } from './of-this-realm.ts';

/** Returns the module, which was compiled before this code runs. */
export function edgeOrder(): WebAssembly.Module {
  return ofThisRealm(module);
}
