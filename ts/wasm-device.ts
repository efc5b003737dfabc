/**
 * The `wasm` device: the SIMD kernel of `wasm/`, fed in chunks that stay in cache.
 *
 * @module
 */
import type { Device, PreparedDevice, WorkspaceMemory, WorkspaceShape } from './device.ts';
import { DispatchLayoutError, InvalidExpertError } from './errors.ts';
import type { LayoutArrays } from './layout.ts';
import { allValid, locateTokens } from './locate-tokens.ts';
import type { Partition } from './partition.ts';
import type { TopkIdx } from './topk-idx.ts';
import { setElements } from './typed-array.ts';
import { locatingMany, WasmKernel } from './wasm-kernel.ts';
import { WasmWorkspace } from './wasm-workspace.ts';

/** A request that needs more memory than this gets an instance of its own, which is collected with its group. */
const maxSharedBytes = 16 * 1024 * 1024;

/** The instance that groups share: changing between them rebuilds a table, about a microsecond for 256 experts. */
let shared: WasmKernel | undefined;

/** Another one, for large layouts whose ids must be valid before anything is written: a second pass over them takes longer. */
let roomy: WasmKernel | undefined;

/**
 * Compiles the kernel on first use.
 *
 * @throws what `new WebAssembly.Module` throws where WebAssembly, its SIMD, or compiling is not available.
 */
export function loadWasmDevice(): Device {
  shared ??= new WasmKernel();
  return { name: 'wasm', prepare: (partition) => new PreparedWasm(partition) };
}

class PreparedWasm implements PreparedDevice {
  readonly partition: Partition;
  #own: WasmKernel | undefined;
  #checkedTopk = -1;

  constructor(partition: Partition) {
    this.partition = partition;
  }

  computeLayout(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, keepOnError: boolean): void {
    const { numTokens, numTopk } = topkIdx;
    // Nothing may be written before all ids are known to be valid; unless nobody will ever see the arrays
    const isCareful = strict && keepOnError;
    let kernel = this.kernelFor(numTopk);
    if (isCareful && kernel === shared && numTokens > kernel.numTokensLocated(numTopk)) {
      kernel = this.#roomyKernelFor(numTokens, numTopk) ?? kernel;
    }
    kernel.use(this.partition, numTopk);
    const numTokensLocated = kernel.numTokensLocated(numTopk);
    // Ids that cannot be located at once are checked in a pass of their own
    const checkFirst = isCareful && numTokens > numTokensLocated;
    kernel.begin(numTokens * numTopk);
    if (checkFirst) {
      for (let token = 0; token < numTokens; token += numTokensLocated) {
        this.#locate(kernel, topkIdx, token, Math.min(token + numTokensLocated, numTokens), true);
      }
    }

    for (let token = 0; token < numTokens; token += numTokensLocated) {
      const end = Math.min(token + numTokensLocated, numTokens);
      this.#locate(kernel, topkIdx, token, end, strict && !checkFirst);
      this.#add(kernel, numTopk, token, end, out.isTokenInRank);
    }
    kernel.finish();
    const { counts } = kernel;
    setElements(out.numTokensPerRank, counts.numTokensPerRank);
    if (out.numTokensPerRdmaRank !== null) setElements(out.numTokensPerRdmaRank, counts.numTokensPerRdmaRank);
    setElements(out.numTokensPerExpert, counts.numTokensPerExpert);
  }

  createWorkspace(shape: WorkspaceShape): WorkspaceMemory {
    return new WasmWorkspace(this.partition, shape);
  }

  #locate(kernel: WasmKernel, topkIdx: TopkIdx, firstToken: number, end: number, strict: boolean): void {
    const position = locateTokens(kernel, topkIdx, firstToken, end, 0, strict);
    if (position === allValid) return;
    const token = Math.floor(position / topkIdx.numTopk);
    const slot = position % topkIdx.numTopk;
    throw new InvalidExpertError(topkIdx.valueAt(token, slot), token, slot, this.partition.numExperts);
  }

  #add(kernel: WasmKernel, numTopk: number, firstToken: number, end: number, isTokenInRank: Uint8Array): void {
    const { numRanks } = this.partition;
    const step = WasmKernel.numTokensOfRows(numRanks);
    for (let token = firstToken; token < end; token += step) {
      const count = Math.min(step, end - token);
      kernel.addTokens((token - firstToken) * numTopk, count, numTopk, token);
      setElements(isTokenInRank, kernel.rows(count), token * numRanks);
    }
  }

  /** Where all ids can be located at once. */
  #roomyKernelFor(numTokens: number, numTopk: number): WasmKernel | undefined {
    if (numTokens * numTopk > locatingMany.locatedIds) return undefined;
    try {
      roomy ??= new WasmKernel(locatingMany);
      roomy.use(this.partition, numTopk);
      return roomy;
    } catch {
      // Without memory for it, there is the second pass
      return undefined;
    }
  }

  kernelFor(numTopk: number): WasmKernel {
    if (this.#own !== undefined) return this.#own;
    if (numTopk > this.#checkedTopk) {
      const footprint = WasmKernel.footprint(this.partition, numTopk);
      if (footprint > maxSharedBytes) {
        this.#own = instantiate(footprint);
        return this.#own;
      }
      this.#checkedTopk = numTopk;
    }
    shared ??= new WasmKernel();
    return shared;
  }
}

function instantiate(footprint: number): WasmKernel {
  try {
    return new WasmKernel();
  } catch (cause) {
    throw new DispatchLayoutError('OUT_OF_MEMORY', `no memory for a WASM instance with tables of ${footprint} bytes`, {
      value: footprint,
      remedy: "Drop groups that are no longer needed, or use device: 'js'.",
      cause,
    });
  }
}
