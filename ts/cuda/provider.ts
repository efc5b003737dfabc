/**
 * The `cuda` device, as the core knows it. Importing this module touches nothing of CUDA.
 *
 * @module
 */
import type { DeviceAvailability, DeviceVersions, StreamsDevice } from '../device.ts';
import type { CudaProvider } from '../devices.ts';
import { DispatchLayoutError } from '../errors.ts';
import { jsDevice } from '../js-device.ts';
import type { LayoutArrays } from '../layout.ts';
import { partitionExperts } from '../partition.ts';
import { readTopkIdx, TopkIdx } from '../topk-idx.ts';
import { cudaDevice } from './cuda-device.ts';
import { CudaError, isPassing, withoutFullStop } from './cuda-error.ts';
import { cudaRuntime, isCudaInUse } from './runtime.ts';
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

/** The device, or why a first layout failed on it. */
type Checked = DeviceAvailability<StreamsDevice> & { readonly isPassing?: boolean };

let checked: Checked | undefined;

/** The device, for `#platform`. */
export const cudaProvider: CudaProvider = {
  probe() {
    const runtime = cudaRuntime();
    if (runtime.addon === undefined) return { device: undefined, ...runtime };
    if (checked === undefined || checked.isPassing) checked = selfCheck(runtime.reason, runtime.versions);
    return checked;
  },
  get inUse() {
    return isCudaInUse() ? cudaDevice : undefined;
  },
  get crossover() {
    return cudaSettings().crossover ?? defaultCrossover;
  },
  suitsHostArrays: ({ numExperts, numRanks }) => 2 * numExperts + 6 * numRanks <= maxSharedWords,
  get isAwake() {
    return checked === undefined ? isCudaInUse() : checked.device !== undefined;
  },
  get wakeAfter() {
    // Who sets the crossover wants just that
    return cudaSettings().crossover === undefined ? defaultWakeAfter : 0;
  },
};

/** A tiny layout with everything in it, compared with the reference, before the GPU is trusted. */
function selfCheck(reason: string, versions: DeviceVersions): Checked {
  const code = 'SELF_CHECK_FAILED';
  const partition = partitionExperts({ numRanks: 4, numRanksPerNode: 2, numRdmaRanks: 2 }, 8, undefined, true);
  const rows = [
    [0, 1],
    [2, 7],
    [-1, 5],
    [6, 6],
  ];
  const results = (fill: number): LayoutArrays => ({
    numTokensPerRank: new Int32Array(4).fill(fill),
    numTokensPerRdmaRank: new Int32Array(2).fill(fill),
    numTokensPerExpert: new Int32Array(8).fill(fill),
    isTokenInRank: new Uint8Array(16).fill(fill),
  });
  const expected = results(0);
  const actual = results(-1);
  try {
    jsDevice.prepare(partition).computeLayout(readTopkIdx(rows, new TopkIdx()), true, expected, false);
    cudaDevice.prepare(partition).computeLayout(readTopkIdx(rows, new TopkIdx()), true, actual, false);
  } catch (cause) {
    return {
      device: undefined,
      code,
      reason: `${reason}, but a first layout fails there (${withoutFullStop(cause)})`,
      remedy: "Check nvidia-smi and the system log, or use device: 'wasm'.",
      cause,
      versions,
      isPassing:
        cause instanceof DispatchLayoutError &&
        (cause.code === 'OUT_OF_MEMORY' || (cause instanceof CudaError && isPassing(cause.cudaName))),
    };
  }
  const wrong = (Object.keys(expected) as (keyof LayoutArrays)[]).find(
    (name) => `${expected[name]}` !== `${actual[name]}`,
  );
  if (wrong === undefined) return { device: cudaDevice, reason, versions };
  return {
    device: undefined,
    code,
    reason: `${reason}, but it computes wrong layouts (${wrong} is [${actual[wrong]}] instead of [${expected[wrong]}])`,
    remedy: "Please report this; use device: 'wasm'.",
    versions,
  };
}
