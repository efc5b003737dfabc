/**
 * GPU memory that several tensors may lie in.
 *
 * @module
 */
import type { AllocationHandle } from './addon.ts';
import { addonInUse, type Gpu, useGpu } from './runtime.ts';

/** An allocation that is released when the last tensor in it is disposed of. */
export class SharedAllocation {
  readonly handle: AllocationHandle;
  /** The GPU that the memory belongs to. */
  readonly gpu: Gpu;
  #numTensors = 0;
  #pointer: bigint | undefined;

  constructor(handle: AllocationHandle, gpu: Gpu) {
    this.handle = handle;
    this.gpu = gpu;
    useGpu(gpu);
  }

  /** The address of the first byte on the GPU. */
  get pointer(): bigint {
    this.#pointer ??= addonInUse().pointerOf(this.handle);
    return this.#pointer;
  }

  /** Counts a tensor in this memory. It must be called for each of them. */
  retain(): this {
    this.#numTensors++;
    return this;
  }

  /** Must be called when a tensor in this memory is disposed of. */
  drop(): void {
    if (--this.#numTensors === 0) addonInUse().release(this.handle);
  }
}
