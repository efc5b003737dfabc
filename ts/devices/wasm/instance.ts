/**
 * Instances of the kernel, made by the loader: when they are needed, or ahead of that without blocking.
 *
 * @module
 */
import { instantiate, instantiateSync } from '@assemblyscript/loader';
import { compileKernel, kernelModule } from '#kernel';

let madeAhead: Record<string, unknown> | undefined;

/**
 * The exports of a new instance.
 *
 * @throws what `WebAssembly.Module` and `WebAssembly.Instance` throw where WebAssembly or its SIMD is missing or forbidden.
 */
export function instantiateKernel(): Record<string, unknown> {
  const exports = madeAhead ?? instantiateSync(kernelModule(), {}).exports;
  madeAhead = undefined;
  return exports;
}

/** Makes the instance that the next `instantiateKernel` returns. Rejects as that throws. */
export async function instantiateAhead(): Promise<void> {
  const module = await compileKernel();
  madeAhead ??= (await instanceOf(module)).exports;
}

async function instanceOf(module: WebAssembly.Module): Promise<{ readonly exports: Record<string, unknown> }> {
  try {
    return instantiateSync(module, {});
  } catch {
    // Browsers that limit synchronous compilation limit this, too. It is not the first choice, since the loader looks for a
    // `Response` then, for which Node.js loads its HTTP client: that takes longer than all the rest
    return instantiate(module, {});
  }
}
