/**
 * The devices that `getDispatchLayout` can run on, in order of preference, and the choice among them.
 *
 * @module
 */

import { describe } from './describe.ts';
import type { Device, DeviceName } from './device.ts';
import { DeviceUnavailableError, DispatchLayoutError } from './errors.ts';
import { jsDevice } from './js-device.ts';
import { loadWasmDevice } from './wasm-device.ts';

/** A device by name, or `auto`: the first available of `cuda`, `wasm`, `js`. */
export type DeviceOption = 'auto' | DeviceName;

/** What one device can do here, and whether it would be chosen. */
export interface DeviceDescription {
  readonly device: DeviceName;
  readonly available: boolean;
  readonly chosen: boolean;
  /** Why it is available or not, chosen or not: a clause, without full stop. */
  readonly reason: string;
  /** What to do to make it available, where it is not. */
  readonly remedy?: string;
}

type Availability =
  | { readonly device: Device; readonly reason: string }
  | { readonly device: undefined; readonly reason: string; readonly remedy: string; readonly cause?: unknown };

/** In order of preference. Each is probed once, on first use. */
const probes: Readonly<Record<DeviceName, () => Availability>> = {
  cuda: once(() => ({
    device: undefined,
    reason: 'this version of dispatch-layout ships no CUDA addon',
    remedy: "Use device: 'wasm' or 'auto'.",
  })),
  wasm: once(() => {
    try {
      return { device: loadWasmDevice(), reason: 'WebAssembly with SIMD runs here' };
    } catch (cause) {
      return {
        device: undefined,
        reason:
          typeof WebAssembly === 'undefined'
            ? 'this runtime has no WebAssembly'
            : `the kernel does not compile here (${cause instanceof Error ? cause.message : String(cause)})`,
        remedy: "Allow 'wasm-unsafe-eval' in the content security policy, or use a runtime with WebAssembly SIMD.",
        cause,
      };
    }
  }),
  js: once(() => ({ device: jsDevice, reason: 'plain JavaScript runs everywhere' })),
};

const preference = Object.keys(probes) as DeviceName[];

/**
 * The device for an option.
 *
 * @throws DeviceUnavailableError if it names one that cannot be used here; DispatchLayoutError `OPTION` if it names none.
 */
export function chooseDevice(option: DeviceOption): Device {
  const name = resolve(option);
  const availability = probes[name]();
  if (availability.device !== undefined) return availability.device;
  const { reason, remedy, cause } = availability;
  throw new DeviceUnavailableError(name, reason, { remedy, cause });
}

/**
 * Every device, in order of preference: whether it is available here, whether `device: option` would choose it, and why.
 *
 * @throws {@link DispatchLayoutError} `OPTION` if `option` names no device.
 */
export function describeDevices(option: DeviceOption = 'auto'): readonly DeviceDescription[] {
  const name = resolve(option);
  return preference.map((device) => {
    const { device: found, reason, ...rest } = probes[device]();
    const available = found !== undefined;
    const chosen = available && device === name;
    const remedy = 'remedy' in rest ? { remedy: rest.remedy } : {};
    const choice = !available
      ? ''
      : chosen
        ? chosenBecause(option)
        : `; ${name} is ${option === 'auto' ? 'preferred' : 'asked for'}`;
    return { device, available, chosen, reason: reason + choice, ...remedy };
  });
}

function chosenBecause(option: DeviceOption): string {
  return option === 'auto' ? ', and it is the fastest of those available' : ', and it was asked for';
}

function resolve(option: DeviceOption): DeviceName {
  if (option === 'auto') return preference.find((name) => probes[name]().device !== undefined) ?? 'js';
  if (preference.includes(option)) return option;
  throw new DispatchLayoutError('OPTION', `device is ${describe(option)}`, {
    value: option,
    remedy: `It must be one of ${['auto', ...preference].join(', ')}.`,
  });
}

function once<Value>(make: () => Value): () => Value {
  let value: Value | undefined;
  return () => {
    value ??= make();
    return value;
  };
}
