/**
 * The loader of WebAssembly modules, evaluated when it is needed. In the bundles of `dist`, `ts/bundle.mjs` puts the loader's
 * own code in place of the `require`.
 *
 * @module
 */

/**
 * Evaluates the loader. That throws where there is no `TextDecoder` (jsdom, React Native) and where `Object` is frozen
 * (`node --frozen-intrinsics`), which is why it is not done when the library is imported.
 */
export function evaluateLoader(): Pick<typeof import('@assemblyscript/loader'), 'instantiateSync'> {
  return require('@assemblyscript/loader');
}
