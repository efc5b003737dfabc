/**
 * Instances of the kernel, made by the loader: when they are needed, or ahead of that without blocking.
 *
 * @module
 */
import { evaluateLoader } from './loader.ts';
/** Where the compiled kernel comes from. */
export interface KernelSource {
  /** Compiles it at once, if it is not compiled yet. */
  module(): WebAssembly.Module;
  /** Compiles it without blocking. */
  compile(): Promise<WebAssembly.Module>;
}

let source: KernelSource;

/** Says where the kernel comes from, which depends on the platform, before anything asks for an instance. */
export function useKernel(kernel: KernelSource): void {
  source = kernel;
}

let madeAhead: Record<string, unknown> | undefined;

/**
 * The exports of a new instance.
 *
 * @throws what `WebAssembly.Module` and `WebAssembly.Instance` throw where WebAssembly or its SIMD is missing or forbidden.
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

/** Makes the instance that the next `instantiateKernel` returns. Rejects as that throws. */
export async function instantiateAhead(): Promise<void> {
  const module = await source.compile();
  // Browsers that limit synchronous compilation limit instances, too: there the engine makes it alone
  madeAhead ??= loaded(module) ?? (await WebAssembly.instantiate(module, {})).exports;
}

/** The exports of a new instance, made by the loader; undefined where it fails: the kernel imports nothing, and does without. */
function loaded(module: WebAssembly.Module): Record<string, unknown> | undefined {
  try {
    return evaluateLoader().instantiateSync(module, {}).exports;
  } catch {
    return undefined;
  }
}

/** An exported function itself, without the closure that the loader wraps it in. */
export function original(exported: unknown): (...values: number[]) => number {
  return ((exported as { readonly original?: unknown }).original ?? exported) as (...values: number[]) => number;
}
