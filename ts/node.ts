/**
 * The main entry where Node-API addons can be loaded: Node.js, Bun, Deno. It is `index.ts` with the `cuda` device
 * and the workers of `node:worker_threads`.
 *
 * @module
 */
import './cuda/provider.ts';
import './threads/node-workers.ts';

export * from './index.ts';
