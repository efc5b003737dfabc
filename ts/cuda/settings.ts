/**
 * The environment variables of the CUDA device, read once, on first use.
 *
 * - `DISPATCH_LAYOUT_CUDA=0` disables it: the addon is not even looked for.
 * - `DISPATCH_LAYOUT_CUDA_ADDON=/path/dispatch_layout_cuda.node` loads that addon, and no other.
 * - `DISPATCH_LAYOUT_CUDA_CROSSOVER=1000000` sets from how many selections (`numTokens * numTopk`) on `device: 'auto'`
 *   sends host arrays to the GPU; `Infinity` for never.
 *
 * @module
 */

/** What the environment says. */
export interface CudaSettings {
  readonly isDisabled: boolean;
  readonly addonPath: string | undefined;
  /** Undefined where it is not set, or is no number. */
  readonly crossover: number | undefined;
}

let settings: CudaSettings | undefined;

export function cudaSettings(): CudaSettings {
  settings ??= readSettings();
  return settings;
}

function readSettings(): CudaSettings {
  const crossover = Number(variable('DISPATCH_LAYOUT_CUDA_CROSSOVER') ?? Number.NaN);
  return {
    isDisabled: ['0', 'false', 'off'].includes(variable('DISPATCH_LAYOUT_CUDA')?.toLowerCase() ?? ''),
    addonPath: variable('DISPATCH_LAYOUT_CUDA_ADDON'),
    crossover: Number.isNaN(crossover) ? undefined : crossover,
  };
}

/** Undefined also where there is no environment, or where reading it is denied: by Deno without `--allow-env`. */
function variable(name: string): string | undefined {
  try {
    return process.env[name] || undefined;
  } catch {
    return undefined;
  }
}
