/**
 * The environment variables of the CUDA device. They are read once, on first use.
 *
 * - `DISPATCH_LAYOUT_CUDA_ADDON=/path/dispatch_layout_cuda.node` loads that addon, and no other.
 * - `DISPATCH_LAYOUT_CUDA_CROSSOVER=1000000` sets the number of selections (`numTokens * numTopk`) from which the
 *   device option `auto` sends host arrays to the GPU; `Infinity` means never.
 *
 * @module
 */
import { variable, variableError } from '../settings.ts';

/** What the environment says. */
export interface CudaSettings {
  readonly addonPath: string | undefined;
  readonly crossover: number | undefined;
}

let settings: CudaSettings | undefined;

/** @throws DispatchLayoutError `ENVIRONMENT` */
export function cudaSettings(): CudaSettings {
  settings ??= { addonPath: variable('DISPATCH_LAYOUT_CUDA_ADDON'), crossover: readCrossover() };
  return settings;
}

function readCrossover(): number | undefined {
  const name = 'DISPATCH_LAYOUT_CUDA_CROSSOVER';
  const value = variable(name);
  if (value === undefined) return undefined;
  const crossover = Number(value);
  if (crossover >= 0) return crossover;
  throw variableError(name, value, 'a number of selections, or Infinity');
}
