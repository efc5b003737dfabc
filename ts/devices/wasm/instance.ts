/**
 * Makes instances of the kernel: when they are needed, or ahead of time without blocking.
 *
 * @module
 */
import { evaluateLoader } from './loader.ts';

/** The source of the compiled kernel. */
export interface KernelSource {
  /** Returns the compiled kernel; compiles it synchronously if that has not been done yet. */
  module(): WebAssembly.Module;
  /** Returns the compiled kernel; compiles it without blocking if that has not been done yet. */
  compile(): Promise<WebAssembly.Module>;
}

let source: KernelSource;

/**
 * Sets the source of the kernel, which depends on the platform. This must happen before anything asks for an instance.
 */
export function useKernel(kernel: KernelSource): void {
  source = kernel;
}

let madeAhead: Record<string, unknown> | undefined;

/**
 * Returns the exports of a new instance.
 *
 * @throws what `WebAssembly.Module` and `WebAssembly.Instance` throw if WebAssembly or its SIMD is missing or
 *   forbidden.
 */
export function instantiateKernel(): Record<string, unknown> {
  let exports = madeAhead;
  madeAhead = undefined;
  if (exports === undefined) {
    const module = source.module();
    exports = loaded(module) ?? new WebAssembly.Instance(module, {}).exports;
  }
  return exports;
}

/**
 * Makes the instance that the next `instantiateKernel` returns. The promise rejects with the errors that
 * `instantiateKernel` throws.
 */
export async function instantiateAhead(): Promise<void> {
  const module = await source.compile();
  // Browsers that limit synchronous compilation also limit synchronous instantiation. If the loader fails for that
  // reason, the module is instantiated asynchronously, without the loader
  madeAhead ??= loaded(module) ?? (await WebAssembly.instantiate(module, {})).exports;
}

/**
 * Returns the exports of a new instance that the loader makes; undefined if the loader fails. The library can do
 * without the loader, since the kernel imports nothing.
 */
function loaded(module: WebAssembly.Module): Record<string, unknown> | undefined {
  try {
    return evaluateLoader().instantiateSync(module, {}).exports;
  } catch {
    return undefined;
  }
}

/** Returns the exported function itself. The loader wraps each one in a closure. */
export function original(exported: unknown): (...values: number[]) => number {
  return ((exported as { readonly original?: unknown }).original ?? exported) as (...values: number[]) => number;
}
