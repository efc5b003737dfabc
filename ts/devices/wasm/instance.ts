/**
 * Instances of the kernel, made by the loader: when they are needed, or ahead of that without blocking.
 *
 * @module
 */
import { instantiateSync } from '@assemblyscript/loader';

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
  const exports = madeAhead ?? instantiateSync(source.module(), {}).exports;
  madeAhead = undefined;
  return exports;
}

/** An exported function itself, without the closure that the loader wraps it in. */
export function original(exported: unknown): (...values: number[]) => number {
  return ((exported as { readonly original?: unknown }).original ?? exported) as (...values: number[]) => number;
}

/** Makes the instance that the next `instantiateKernel` returns. Rejects as that throws. */
export async function instantiateAhead(): Promise<void> {
  const module = await source.compile();
  madeAhead ??= await exportsOf(module);
}

/** Browsers that limit synchronous compilation limit this, too: there the instance is made by the engine alone. */
async function exportsOf(module: WebAssembly.Module): Promise<Record<string, unknown>> {
  try {
    return instantiateSync(module, {}).exports;
  } catch {
    return (await WebAssembly.instantiate(module, {})).exports;
  }
}
