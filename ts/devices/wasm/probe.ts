/**
 * Whether the WASM kernel can be compiled here, and why not.
 *
 * @module
 */
import type { Availability, Obstacle } from '../../errors/availability.ts';
import { engineVersions } from '../engine-versions.ts';
import { instantiateAhead } from './instance.ts';
import { sharedKernel } from './kernels.ts';

let known: Availability | undefined;

/** Compiles the kernel on first use. */
export function probeWasm(): Availability {
  known ??= compile();
  return known;
}

let preparing: Promise<void> | undefined;

/**
 * Compiles the kernel without blocking. It does so even after a probe, which has to compile synchronously, has failed.
 */
export async function prepareWasm(): Promise<void> {
  if (known?.isAvailable) return;
  try {
    preparing ??= instantiateAhead();
    await preparing;
    known = compile();
  } catch (cause) {
    known = unavailable(cause);
  } finally {
    preparing = undefined;
  }
}

function compile(): Availability {
  try {
    sharedKernel();
    return { isAvailable: true, reason: 'WebAssembly with SIMD runs here', versions: engineVersions() };
  } catch (cause) {
    return unavailable(cause);
  }
}

function unavailable(cause: unknown): Availability {
  return { isAvailable: false, ...obstacleOf(cause), cause, versions: engineVersions() };
}

/** A module with one SIMD instruction. Validating it tells an engine without SIMD from one that forbids compiling. */
const simdModule = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11],
);

function obstacleOf(cause: unknown): Obstacle {
  if (typeof WebAssembly === 'undefined') {
    const remedy = 'Use a runtime with WebAssembly SIMD.';
    return { code: 'NO_WEBASSEMBLY', reason: 'this runtime has no WebAssembly', remedy };
  }
  const because = cause instanceof Error ? cause.message : String(cause);
  if (cause instanceof RangeError && because.includes('main thread')) {
    const remedy = 'Call `await prepare()` first, which compiles it asynchronously.';
    return { code: 'NEEDS_PREPARE', reason: `the kernel may not be compiled synchronously here (${because})`, remedy };
  }
  if (cause instanceof RangeError) {
    const remedy = "Drop groups and instances that are no longer needed, or use device: 'js'.";
    return { code: 'NO_MEMORY', reason: `there is no memory for the kernel (${because})`, remedy };
  }
  if (!WebAssembly.validate(simdModule)) {
    const remedy = 'Use a runtime with WebAssembly SIMD.';
    return { code: 'NO_SIMD', reason: `WebAssembly has no SIMD here (${because})`, remedy };
  }
  return {
    code: 'WEBASSEMBLY_FORBIDDEN',
    reason: `the kernel may not be compiled here (${because})`,
    remedy: "Allow 'wasm-unsafe-eval' in the content security policy.",
  };
}
