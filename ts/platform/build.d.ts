/**
 * Whether the bundle is the one for Node.js, Bun and Deno. `ts/bundle.mjs` replaces this by `true` or `false`, and so leaves
 * out of the other bundles what is only for runtimes that may have a GPU.
 */
declare const IS_NODE: boolean;
