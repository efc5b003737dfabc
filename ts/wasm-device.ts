/**
 * The `wasm` device: the SIMD kernel of `wasm/`, fed in chunks that stay in cache.
 *
 * @module
 */
import { copyIds, idBytesOf } from './copy-ids.ts';
import type { Device, PreparedDevice } from './device.ts';
import { InvalidExpertError } from './errors.ts';
import type { LayoutArrays } from './layout.ts';
import type { Partition } from './partition.ts';
import type { TopkIdx } from './topk-idx.ts';
import { noPosition, WasmKernel } from './wasm-kernel.ts';

/** A request that needs more memory than this gets an instance of its own, which is collected with its group. */
const maxSharedBytes = 16 * 1024 * 1024;

/** The instance that groups share: changing between them rebuilds a table, about a microsecond for 256 experts. */
let shared: WasmKernel | undefined;

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
  readonly #partition: Partition;
  #own: WasmKernel | undefined;
  #checkedTopk = -1;

  constructor(partition: Partition) {
    this.#partition = partition;
  }

  computeLayout(topkIdx: TopkIdx, strict: boolean, out: LayoutArrays, keepOnError: boolean): void {
    const { numTokens, numTopk, idType } = topkIdx;
    const { numExperts, numRanks } = this.#partition;
    const kernel = this.#kernelFor(numTopk);
    kernel.use(this.#partition, numTopk);
    const step = WasmKernel.tokensPerChunk(this.#partition, numTopk, idBytesOf(topkIdx));
    const ids = kernel.ids(idType);

    const fail = (token: number, position: number): never => {
      token += Math.floor(position / numTopk);
      const slot = position % numTopk;
      throw new InvalidExpertError(topkIdx.valueAt(token, slot), token, slot, numExperts);
    };

    // One chunk is checked while it is counted. Of several, the first must not be written before the last is known to
    // be valid; unless nobody will see them.
    const checkFirst = strict && keepOnError && numTokens > step;
    for (let token = 0; checkFirst && token < numTokens; token += step) {
      const count = Math.min(step, numTokens - token);
      copyIds(topkIdx, token, count, ids);
      const position = kernel.findInvalid(idType, count, numTopk);
      if (position !== noPosition) fail(token, position);
    }

    kernel.begin();
    for (let token = 0; token < numTokens; token += step) {
      const count = Math.min(step, numTokens - token);
      copyIds(topkIdx, token, count, ids);
      const position = kernel.addTokens(idType, count, numTopk, token, strict && !checkFirst);
      if (position !== noPosition) {
        kernel.finish();
        fail(token, position);
      }
      copyRows(kernel.isTokenInRank, count * numRanks, out.isTokenInRank, token * numRanks);
    }
    const counts = kernel.finish();
    out.numTokensPerRank.set(counts.numTokensPerRank);
    out.numTokensPerRdmaRank?.set(counts.numTokensPerRdmaRank);
    out.numTokensPerExpert.set(counts.numTokensPerExpert);
  }

  #kernelFor(numTopk: number): WasmKernel {
    if (this.#own !== undefined) return this.#own;
    if (numTopk > this.#checkedTopk) {
      this.#checkedTopk = numTopk;
      if (WasmKernel.footprint(this.#partition, numTopk) > maxSharedBytes) {
        this.#own = new WasmKernel();
        return this.#own;
      }
    }
    shared ??= new WasmKernel();
    return shared;
  }
}

function copyRows(rows: Uint8Array, length: number, target: Uint8Array, offset: number): void {
  target.set(rows.length === length ? rows : rows.subarray(0, length), offset);
}
