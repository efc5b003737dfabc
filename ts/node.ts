/**
 * The main entry where Node-API addons can be loaded: Node.js, Bun, Deno. It is `index.ts` with the `cuda` device.
 *
 * @module
 */
import './cuda/provider.ts';

export * from './index.ts';
