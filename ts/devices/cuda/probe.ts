/**
 * Finds out whether a GPU can be used, by a first layout on it.
 *
 * @module
 */
import type { Availability, DeviceVersions } from '../../errors/availability.ts';
import { DispatchLayoutError } from '../../errors/errors.ts';
import { partitionExperts } from '../../input/partition.ts';
import { readTopkIdx } from '../../input/read-topk-idx.ts';
import { layoutComputations, layoutForm } from '../../layout/layout.ts';
import { LayoutRequest } from '../../layout/layout-request.ts';
import { allocateOut } from '../../layout/out-arrays.ts';
import { jsDevice } from '../js/device.ts';
import { CudaError, isPassing, withoutFullStop } from './cuda-error.ts';
import { cudaRuntime, firstGpu, type Gpu, gpusInUse, noSuchGpu, reasonOf } from './runtime.ts';
import { submitArrays } from './submit-arrays.ts';

/** What the first layout on a GPU has shown. */
type Checked = Availability & { readonly isPassing?: boolean };

/** By ordinal. */
const checked: Checked[] = [];

/**
 * Loads the addon, and checks the first GPU that can be used or, if an ordinal is given, that one. This is done once for
 * each GPU, and again only if the cause of a failure may have passed.
 */
export function probeCuda(ordinal?: number): Availability {
  const runtime = cudaRuntime();
  if (runtime.addon === undefined) return { isAvailable: false, ...runtime };
  const { gpus, first, versions } = runtime;
  const gpu = ordinal === undefined ? first : gpus[ordinal];
  const obstacle = gpu === undefined ? noSuchGpu(ordinal as number, gpus) : gpu.obstacle;
  if (obstacle !== undefined) return { isAvailable: false, versions, ...obstacle };
  const earlier = checked[gpu.ordinal];
  if (earlier === undefined || earlier.isPassing) checked[gpu.ordinal] = selfCheck(gpu, versions);
  return checked[gpu.ordinal];
}

/** Whether the first GPU has been set up, which takes longer than most layouts. */
export function isCudaAwake(): boolean {
  const gpus = gpusInUse();
  return gpus.length > 0 && gpus.includes(firstGpu()) && checked[firstGpu().ordinal]?.isAvailable !== false;
}

/**
 * Before the GPU is trusted, it computes a tiny layout in which every case occurs, and the result is compared with the
 * reference.
 */
function selfCheck(gpu: Gpu, versions: DeviceVersions): Checked {
  const reason = reasonOf(gpu);
  const code = 'SELF_CHECK_FAILED';
  const expected = smallRequest(0);
  const actual = smallRequest(-1);
  try {
    jsDevice.submit(expected);
    submitArrays(actual, gpu);
  } catch (cause) {
    return {
      isAvailable: false,
      code,
      reason: `${reason}, but a first layout fails there (${withoutFullStop(cause)})`,
      remedy: "Check nvidia-smi and the system log, or use device: 'wasm'.",
      cause,
      versions,
      isPassing:
        cause instanceof DispatchLayoutError &&
        (cause.code === 'OUT_OF_MEMORY' ||
          cause.code === 'CAPTURE' ||
          (cause instanceof CudaError && isPassing(cause.cudaName))),
    };
  }
  const wrong = layoutForm.outputs.find(({ name }) => `${expected.out[name]}` !== `${actual.out[name]}`);
  if (wrong === undefined) return { isAvailable: true, reason, versions };
  return {
    isAvailable: false,
    code,
    reason: `${reason}, but it computes wrong layouts (${wrong.name} is [${actual.out[wrong.name]}] instead of [${expected.out[wrong.name]}])`,
    remedy: "Please report this; use device: 'wasm'.",
    versions,
  };
}

/**
 * @param fill the value that the results hold before. An element that is not written then differs from the reference.
 */
function smallRequest(fill: number): LayoutRequest {
  const request = new LayoutRequest(layoutForm);
  const rows = [
    [0, 1],
    [2, 7],
    [-1, 5],
    [6, 6],
  ];
  readTopkIdx(rows, request.topkIdx);
  const partition = partitionExperts({ numRanks: 4, numRanksPerNode: 2, numRdmaRanks: 2 }, 8, undefined, true);
  request.setShape(partition, layoutComputations.bytes);
  allocateOut(request);
  for (const { name } of layoutForm.outputs) request.out[name]?.fill(fill);
  return request;
}
