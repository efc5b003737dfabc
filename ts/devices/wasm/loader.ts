/**
 * The loader of WebAssembly modules, which is evaluated when it is needed. In the bundles of `dist`, `ts/bundle.mjs`
 * puts the loader's own code in the place of the `require`.
 *
 * @module
 */

/**
 * Evaluates the loader. This is not done when the library is imported, because it throws where there is no
 * `TextDecoder` (jsdom, React Native) and where `Object` is frozen (`node --frozen-intrinsics`).
 */
export function evaluateLoader(): Pick<typeof import('@assemblyscript/loader'), 'instantiateSync'> {
  return require('@assemblyscript/loader');
}
