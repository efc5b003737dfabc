/**
 * The `wasm` device runs the SIMD kernel of `wasm/` on chunks that stay in cache.
 *
 * @module
 */
import { InvalidExpertError } from '../../errors/errors.ts';
import { finishedHandle } from '../../layout/event-overlap.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { OutArrays } from '../../layout/outputs.ts';
import { setElements } from '../../values/typed-array.ts';
import type { Device } from '../device.ts';
import { copyIds } from './copy-ids.ts';
import { type KernelSource, useKernel } from './instance.ts';
import type { WasmKernel } from './kernel.ts';
import { kernelFor, mustCheckFirst } from './kernels.ts';
import { prepareWasm, probeWasm } from './probe.ts';
import { createWorkspace } from './workspace.ts';

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
    const kernel = kernelFor(request);
    const numIds = request.numTokens * request.numTopk;
    kernel.begin(numIds);
    if (numIds <= kernel.windows.locatedIds) locateAllThenAdd(kernel, request);
    else locateAndAddInTurn(kernel, request);
    kernel.finish();
    copyCounts(kernel, request.out);
    return finishedHandle;
  },
  createWorkspace,
  prepareAhead: prepareWasm,
};

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
 * Locates the ids of tokens `[firstToken, end)`, numbered from 0.
 *
 * @throws InvalidExpertError for the first id that is neither an expert nor empty, if `isChecked`.
 */
function locateTokens(
  kernel: WasmKernel,
  { topkIdx, numTopk, numExperts }: LayoutRequest,
  firstToken: number,
  end: number,
  isChecked: boolean,
): void {
  if (numTopk === 0) return;
  const { type, emptyId } = topkIdx;
  const ids = kernel.ids(type);
  const step = tokensPerWindow(end - firstToken, numTopk * type.bytes, kernel.windows.idsBytes);
  for (let token = firstToken; token < end; token += step) {
    const count = Math.min(step, end - token);
    copyIds(topkIdx, token, count, ids);
    const numIds = count * numTopk;
    if (kernel.locate(type, emptyId, numIds, (token - firstToken) * numTopk) || !isChecked) continue;
    const invalid = kernel.findInvalid(type, emptyId, numIds);
    throw InvalidExpertError.at(token * numTopk + invalid, topkIdx, numExperts);
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

/** How many tokens, of `bytesPerToken` each, a window takes at a time: all of them if they fit, and at least one. */
function tokensPerWindow(numTokens: number, bytesPerToken: number, windowBytes: number): number {
  return numTokens * bytesPerToken <= windowBytes ? numTokens : Math.max(1, Math.floor(windowBytes / bytesPerToken));
}

/**
 * Copies the counts to the arrays of the request. They are named one by one for speed: see the end of
 * `layout/outputs.ts`.
 */
function copyCounts({ outputs }: WasmKernel, out: OutArrays): void {
  setElements(out.numTokensPerRank, outputs.numTokensPerRank);
  if (out.numTokensPerRdmaRank !== null) setElements(out.numTokensPerRdmaRank, outputs.numTokensPerRdmaRank);
  setElements(out.numTokensPerExpert, outputs.numTokensPerExpert);
}
