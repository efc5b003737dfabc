/**
 * Which host arrays `auto` sends to the GPU.
 *
 * @module
 */
import type { LayoutRequest } from '../../layout/layout-request.ts';
import { isCudaAwake } from './probe.ts';
import { cudaSettings } from './settings.ts';

/**
 * From so many selections (`numTokens * numTopk`) on, `device: 'auto'` sends host arrays to the GPU. Measured by
 * `test/gpu/run.sh bench` on an H100 beside a Xeon with 16 cores (bench/cuda/results/2026-11-23-…-calls.md): with 16384
 * tokens of 8 ids `cuda` is level with `wasm` for 8 ranks and a fifth faster for 64; with a million tokens, five times.
 * The copies decide, not the kernel.
 */
const defaultCrossover = 16384 * 8;

/**
 * What the kernel's tables may take of the 64 KiB of shared memory that every GPU has, from Turing on. Larger ones are kept
 * in global memory, and masks then written byte by byte, which is slow where the memory is the host's.
 */
const maxSharedWords = 16000;

/** Setting CUDA up took about 220 ms there, in which `wasm` computes about so many selections. */
const defaultWakeAfter = 2 ** 26;

/** @throws DispatchLayoutError `ENVIRONMENT` */
export function fromSelections(): number {
  return cudaSettings().crossover ?? defaultCrossover;
}

let numSelectionsBeforeWaking = 0;

/**
 * Whether the GPU should compute such large host arrays. The first ones do not even have it looked for: only when the CPU
 * has spent as long on large arrays as it takes to set CUDA up, are more of them likely enough.
 */
export function cudaCanTake({ numTokens, numTopk, numExperts, numRanks }: LayoutRequest): boolean {
  if (2 * numExperts + 6 * numRanks > maxSharedWords) return false;
  if (isCudaAwake()) return true;
  // Who sets the crossover wants just that
  const wakeAfter = cudaSettings().crossover === undefined ? defaultWakeAfter : 0;
  numSelectionsBeforeWaking += numTokens * numTopk;
  if (numSelectionsBeforeWaking <= wakeAfter) return false;
  // Where it cannot be used, a shortage may pass: it is asked again after as many
  numSelectionsBeforeWaking = 0;
  return true;
}
