/**
 * Turns failed calls of the CUDA runtime into errors of this library.
 *
 * @module
 */
import { DispatchLayoutError } from '../../errors/errors.ts';
import type { CudaFailure } from './addon.ts';
import { captureError } from './capture-error.ts';

/**
 * A call of the CUDA runtime failed (code `CUDA_ERROR`), or the GPU's memory or pinned memory is full (code
 * `OUT_OF_MEMORY`).
 */
export class CudaError extends DispatchLayoutError {
  /** The name of the class. */
  override readonly name = 'CudaError';
  /** CUDA's name of the error, such as `cudaErrorIllegalAddress`. */
  readonly cudaName: string;
  /**
   * The function of the CUDA runtime that returned the error. What has failed may also be work that was queued earlier.
   */
  readonly call: string;
  /** Whether the CUDA context is lost. Nothing then works on the GPU until the process is restarted. */
  readonly isFatal: boolean;

  constructor({ cudaCode, cudaName, cudaMessage, call, isSticky }: CudaFailure) {
    const isMemory = cudaName === memoryError;
    super(
      isMemory ? 'OUT_OF_MEMORY' : 'CUDA_ERROR',
      isMemory
        ? `${call === 'cudaHostAlloc' ? 'there is no pinned memory left' : 'the memory of the GPU is full'} (${call}: ${cudaName})`
        : `${call} failed: ${cudaName} (${cudaCode}), ${cudaMessage}`,
      { value: cudaName, remedy: remedyFor(cudaName, isSticky) },
    );
    this.cudaName = cudaName;
    this.call = call;
    this.isFatal = isSticky;
  }
}

const memoryError = 'cudaErrorMemoryAllocation';

/** The errors that other processes may cause, so that the same call may succeed later. */
const passingErrors: readonly (string | undefined)[] = [
  memoryError,
  'cudaErrorDevicesUnavailable',
  // On machines with NVSwitch, the fabric manager starts some time after the driver
  'cudaErrorSystemNotReady',
];

/** Whether the same call may succeed later. */
export function isPassing(cudaName: string | undefined): boolean {
  return passingErrors.includes(cudaName);
}

const remedies: Readonly<Record<string, string>> = {
  [memoryError]: 'Dispose of tensors, split the tokens and add up the counts, or end other processes on the GPU.',
  cudaErrorInvalidResourceHandle: 'Pass handles of this process only, and only while they exist.',
  cudaErrorNoKernelImageForDevice: "This GPU is too old: use device: 'wasm'.",
  cudaErrorDevicesUnavailable: 'Wait for the other process, or change the compute mode of the GPU.',
  cudaErrorInvalidDevice: 'Correct CUDA_VISIBLE_DEVICES.',
  cudaErrorSystemNotReady: 'Wait until the fabric manager runs (systemctl status nvidia-fabricmanager).',
};

function remedyFor(cudaName: string, isSticky: boolean): string {
  if (isSticky) {
    return "The process's CUDA context is lost, and the device 'cuda' is unusable: restart the process. Other devices go on working.";
  }
  return remedies[cudaName] ?? 'The group stays usable; if it happens again, run the process under compute-sanitizer.';
}

/** The message of what was thrown, in the form in which another message can contain it. */
export function withoutFullStop(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\.$/, '');
}

/** The first error after which no call can succeed. */
let fatal: CudaError | undefined;

/** The reason why the CUDA device can no longer be used; undefined while it can. */
export function fatalCudaError(): CudaError | undefined {
  return fatal;
}

function outOfHostMemory(cause: Error): DispatchLayoutError {
  return new DispatchLayoutError('OUT_OF_MEMORY', 'the memory of the process is full', {
    remedy: 'Split the tokens and add up the counts.',
    cause,
  });
}

/** An error of the addon. One that is neither a failure of CUDA nor a forbidden call has neither property. */
export type AddonError = Error & { readonly cuda?: CudaFailure; readonly capture?: string };

/** Translates an error of the addon into one of this library. One that has neither property passes unchanged. */
export function translate(error: AddonError): Error {
  if (error.capture !== undefined) return captureError(error.capture);
  if (error.cuda === undefined) return error;
  if (error.cuda.call === 'malloc') return outOfHostMemory(error);
  const translatedError = new CudaError(error.cuda);
  if (translatedError.isFatal) fatal ??= translatedError;
  return translatedError;
}
