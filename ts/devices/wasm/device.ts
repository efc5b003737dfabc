/**
 * The `wasm` device runs the SIMD kernel of `wasm/` on chunks that stay in cache.
 *
 * @module
 */

import { finishedHandle } from '../../layout/event-overlap.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { LayoutComputation, OutArrays } from '../../layout/outputs.ts';
import { setElements } from '../../values/typed-array.ts';
import type { Device } from '../device.ts';
import { type KernelSource, useKernel } from './instance.ts';
import type { WasmKernel } from './kernel.ts';
import { kernelFor, mustCheckFirst } from './kernels.ts';
import { locateTokens, tokensPerWindow } from './locate-tokens.ts';
import { prepareWasm, probeWasm } from './probe.ts';

/** The WASM device, which takes its kernel from the source of this platform. */
export function createWasmDevice(kernel: KernelSource): Device {
  useKernel(kernel);
  return wasmDevice;
}

const wasmDevice: Device = {
  name: 'wasm',
  probe: probeWasm,
  fromSelections: 0,
  submit(request) {
    const compute = request.onCpu?.wasm ?? computeLayout;
    compute(request);
    return finishedHandle;
  },
  prepareAhead: prepareWasm,
};

function computeLayout(request: LayoutRequest): void {
  const kernel = kernelFor(request, request.computation as LayoutComputation);
  const numIds = request.numTokens * request.numTopk;
  kernel.begin(numIds);
  if (numIds <= kernel.windows.locatedIds) locateAllThenAdd(kernel, request);
  else locateAndAddInTurn(kernel, request);
  kernel.finish();
  copyCounts(kernel, request.out);
}

/** The usual way: all ids are located, and so known to be valid, before the first of them is added to the counts. */
function locateAllThenAdd(kernel: WasmKernel, request: LayoutRequest): void {
  locateTokens(kernel, request, 0, request.numTokens, request.isStrict);
  addTokens(kernel, request, 0, request.numTokens);
}

/**
 * The way for more ids than can be located at once: they are located and added piece by piece. If nothing may be
 * written before all of them are known to be valid, all pieces are first located in a pass of their own.
 */
function locateAndAddInTurn(kernel: WasmKernel, request: LayoutRequest): void {
  const { numTokens, numTopk, isStrict } = request;
  const step = Math.max(1, Math.floor(kernel.windows.locatedIds / numTopk));
  const checksFirst = mustCheckFirst(request);
  for (let token = 0; checksFirst && token < numTokens; token += step) {
    locateTokens(kernel, request, token, Math.min(token + step, numTokens), true);
  }
  for (let token = 0; token < numTokens; token += step) {
    const end = Math.min(token + step, numTokens);
    locateTokens(kernel, request, token, end, isStrict && !checksFirst);
    addTokens(kernel, request, token, end);
  }
}

/**
 * Adds tokens `[firstToken, end)`, whose ids were located with numbers from 0, to the counts, and copies their rows
 * out.
 */
function addTokens(kernel: WasmKernel, request: LayoutRequest, firstToken: number, end: number): void {
  const { numTopk, out } = request;
  const { rowBytes, rowsBytes } = kernel;
  const step = tokensPerWindow(end - firstToken, rowBytes, rowsBytes);
  for (let token = firstToken; token < end; token += step) {
    const count = Math.min(step, end - token);
    kernel.addTokens((token - firstToken) * numTopk, count, numTopk, token);
    if (out.isTokenInRank !== null) setElements(out.isTokenInRank, kernel.rows(count * rowBytes), token * rowBytes);
  }
}

/**
 * Copies the counts to the arrays of the request. They are named one by one for speed: see `ResultForm` in
 * `layout/outputs.ts`.
 */
function copyCounts({ views }: WasmKernel, out: OutArrays): void {
  setElements(out.numTokensPerRank, views.numTokensPerRank);
  if (out.numTokensPerRdmaRank !== null) setElements(out.numTokensPerRdmaRank, views.numTokensPerRdmaRank);
  setElements(out.numTokensPerExpert, views.numTokensPerExpert);
}
