/**
 * Whether the code is bundled for Node.js, Bun and Deno. `ts/bundle.mjs` replaces this name by `true` or `false`, so
 * code that needs a GPU is left out of the bundles for other runtimes.
 */
declare const IS_NODE: boolean;
