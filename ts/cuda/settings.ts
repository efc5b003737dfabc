/**
 * The environment variables of the CUDA device.
 *
 * - `DISPATCH_LAYOUT_CUDA=0` disables it: the addon is not even looked for.
 * - `DISPATCH_LAYOUT_CUDA_ADDON=/path/dispatch_layout_cuda.node` loads that addon, and no other.
 * - `DISPATCH_LAYOUT_CUDA_CROSSOVER=1000000` sets from how many selections (`numTokens * numTopk`) on `device: 'auto'`
 *   sends host arrays to the GPU; `Infinity` for never.
 *
 * @module
 */

function setting(name: string): string | undefined {
  const value = typeof process === 'undefined' ? undefined : process.env[name];
  return value === '' ? undefined : value;
}

export function isCudaDisabled(): boolean {
  return ['0', 'false', 'off'].includes(setting('DISPATCH_LAYOUT_CUDA')?.toLowerCase() ?? '');
}

export function addonPath(): string | undefined {
  return setting('DISPATCH_LAYOUT_CUDA_ADDON');
}

/** Undefined where it is not set, or is no number. */
export function crossoverSetting(): number | undefined {
  const value = setting('DISPATCH_LAYOUT_CUDA_CROSSOVER');
  return value === undefined || Number.isNaN(Number(value)) ? undefined : Number(value);
}
