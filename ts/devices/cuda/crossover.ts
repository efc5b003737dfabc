/**
 * Decides which host arrays `auto` sends to the GPU.
 *
 * @module
 */
import type { LayoutRequest } from '../../layout/layout-request.ts';
import { disabledBy } from '../settings.ts';
import { isCudaAwake } from './probe.ts';
import { cudaSettings } from './settings.ts';

/**
 * The number of selections (`numTokens * numTopk`) from which `device: 'auto'` sends host arrays to the GPU. It was
 * measured by `test/gpu/run.sh bench` on an H100 beside a Xeon with 16 cores
 * (bench/cuda/results/2026-11-23-…-calls.md). With 16384 tokens of 8 ids, `cuda` is as fast as `wasm` for 8 ranks, and
 * a fifth faster for 64; with a million tokens, it is five times as fast. The copies decide this, not the kernel.
 */
const defaultCrossover = 16384 * 8;

/**
 * The largest number of 32-bit words that the kernel's tables may take of the 64 KiB of shared memory that every GPU
 * has, from Turing on. Larger tables are kept in global memory. `isTokenInRank` is then written byte by byte, which is
 * slow if it is in host memory.
 */
const maxSharedWords = 16000;

/**
 * The number of selections that `wasm` computes in about the time that it takes to set CUDA up, which was 220 ms on
 * that machine.
 */
const defaultWakeAfter = 2 ** 26;

/**
 * The number of selections from which `auto` asks {@link isWorthTheGpu}. It is at least 1, because 0 marks a device
 * that takes every request, such as those that `auto` falls back to.
 *
 * @throws DispatchLayoutError `ENVIRONMENT`
 */
export function fromSelections(): number {
  if (disabledBy('cuda') !== undefined) return Number.POSITIVE_INFINITY;
  return Math.max(1, cudaSettings().crossover ?? defaultCrossover);
}

/** The selections of the large arrays that the CPU has computed since the GPU was last looked for. */
let numSelectionsBeforeWaking = 0;

/**
 * Whether the GPU should compute such large host arrays. For the first of them, the GPU is not even looked for. Only
 * when the CPU has spent as much time on large arrays as it takes to set CUDA up is it likely that enough of them will
 * follow.
 */
export function isWorthTheGpu({ numTokens, numTopk, numExperts, numRanks }: LayoutRequest): boolean {
  if (2 * numExperts + 6 * numRanks > maxSharedWords) return false;
  if (isCudaAwake()) return true;
  // A user who has set the crossover wants the GPU for every array beyond it, from the first on
  const wakeAfter = cudaSettings().crossover === undefined ? defaultWakeAfter : 0;
  numSelectionsBeforeWaking += numTokens * numTopk;
  if (numSelectionsBeforeWaking <= wakeAfter) return false;
  // If the GPU cannot be used now, the cause may pass. The question is therefore asked again after as many selections
  numSelectionsBeforeWaking = 0;
  return true;
}
