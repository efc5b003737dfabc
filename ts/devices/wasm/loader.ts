/**
 * The loader of WebAssembly modules, which is evaluated only when it is needed. For the bundles in `dist`,
 * `ts/bundle.mjs` replaces the `require` by the code of the loader.
 *
 * @module
 */

/**
 * Evaluates the loader. This is not done when the library is imported, because the loader throws an error where there
 * is no `TextDecoder` (jsdom, React Native) or where `Object` is frozen (`node --frozen-intrinsics`).
 */
export function evaluateLoader(): Pick<typeof import('@assemblyscript/loader'), 'instantiateSync'> {
  return require('@assemblyscript/loader');
}
