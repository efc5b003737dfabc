/**
 * The `wasm` device: the SIMD kernel of `wasm/`, fed in chunks that stay in cache.
 *
 * @module
 */
import { InvalidExpertError } from '../../errors/errors.ts';
import { finishedHandle } from '../../layout/event-overlap.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { OutArrays } from '../../layout/outputs.ts';
import { setElements } from '../../values/typed-array.ts';
import type { Device } from '../device.ts';
import { type KernelSource, useKernel } from './instance.ts';
import type { WasmKernel } from './kernel.ts';
import { kernelFor, mustCheckFirst } from './kernels.ts';
import { allValid, locateTokens } from './locate-tokens.ts';
import { prepareWasm, probeWasm } from './probe.ts';
import { WasmWorkspace } from './workspace.ts';

/** The WASM device, with the kernel of the platform. */
export function createWasmDevice(kernel: KernelSource): Device {
  useKernel(kernel);
  return wasmDevice;
}

const wasmDevice: Device = {
  name: 'wasm',
  probe: probeWasm,
  fromSelections: 0,
  submit(request) {
    const { numTokens, numTopk, out } = request;
    const kernel = kernelFor(request);
    kernel.begin(numTokens * numTopk);
    if (mustCheckFirst(request) && numTokens > kernel.numTokensLocated(numTokens, numTopk))
      checkThenAdd(kernel, request);
    else addChunks(kernel, request, request.isStrict);
    kernel.finish();
    copyCounts(kernel, out);
    return finishedHandle;
  },
  createWorkspace: (partition, shape) => new WasmWorkspace(partition, shape),
  prepareAhead: prepareWasm,
};

/** In one pass: each chunk of tokens is checked, then added. What was written when an id is invalid is nobody's to see. */
function addChunks(kernel: WasmKernel, request: LayoutRequest, isStrict: boolean): void {
  const { numTokens, numTopk } = request;
  const step = kernel.numTokensLocated(numTokens, numTopk);
  for (let token = 0; token < numTokens; token += step) {
    const end = Math.min(token + step, numTokens);
    locate(kernel, request, token, end, isStrict);
    addTokens(kernel, request, token, end);
  }
}

/** In two passes, where not all ids can be located at once: nothing may be written before all of them are checked. */
function checkThenAdd(kernel: WasmKernel, request: LayoutRequest): void {
  const { numTokens, numTopk } = request;
  const step = kernel.numTokensLocated(numTokens, numTopk);
  for (let token = 0; token < numTokens; token += step) {
    locate(kernel, request, token, Math.min(token + step, numTokens), true);
  }
  addChunks(kernel, request, false);
}

function locate(kernel: WasmKernel, request: LayoutRequest, firstToken: number, end: number, isStrict: boolean): void {
  const selection = locateTokens(kernel, request.topkIdx, firstToken, end, isStrict);
  if (selection !== allValid) throw InvalidExpertError.at(selection, request.topkIdx, request.numExperts);
}

/** Adds tokens that were located from number 0 on. */
function addTokens(kernel: WasmKernel, request: LayoutRequest, firstToken: number, end: number): void {
  const { numTopk, numRanks, out } = request;
  const step = kernel.numTokensOfRows(end - firstToken, numRanks);
  for (let token = firstToken; token < end; token += step) {
    const count = Math.min(step, end - token);
    kernel.addTokens((token - firstToken) * numTopk, count, numTopk, token);
    setElements(out.isTokenInRank, kernel.rows(count * numRanks), token * numRanks);
  }
}

/** Named one by one: see the end of `layout/outputs.ts`. */
function copyCounts({ outputs }: WasmKernel, out: OutArrays): void {
  setElements(out.numTokensPerRank, outputs.numTokensPerRank);
  if (out.numTokensPerRdmaRank !== null) setElements(out.numTokensPerRdmaRank, outputs.numTokensPerRdmaRank);
  setElements(out.numTokensPerExpert, outputs.numTokensPerExpert);
}
