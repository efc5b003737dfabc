/**
 * The environment variables, if the runtime has any. They are read once, on first use.
 *
 * - `DISPATCH_LAYOUT_DEVICE=wasm` is the device that `auto` stands for; `cuda:1` is one of several GPUs. The option
 *   `device` of a group takes precedence.
 * - `DISPATCH_LAYOUT_DISABLE=cuda,wasm` makes devices unavailable; they are not even looked for.
 * - `DISPATCH_LAYOUT_LOG=1` prints a line on standard error (`console.warn`) when a device is chosen.
 *
 * @module
 */
import {
  anyGpuName,
  type DeviceName,
  type DeviceOption,
  deviceNames,
  type Obstacle,
  ordinalIn,
} from '../errors/availability.ts';
import { wrongValue } from '../errors/checks.ts';
import type { DispatchLayoutError } from '../errors/errors.ts';

/** What the environment says. */
export interface Settings {
  readonly device: DeviceOption;
  readonly disabled: readonly string[];
  readonly isLogged: boolean;
}

let known: Settings | undefined;

/** @throws DispatchLayoutError `ENVIRONMENT` */
export function settings(): Settings {
  known ??= {
    device: (readList('DISPATCH_LAYOUT_DEVICE', ['auto', ...deviceNames, anyGpuName], 1)[0] ?? 'auto') as DeviceOption,
    disabled: readList('DISPATCH_LAYOUT_DISABLE', deviceNames),
    isLogged: readList('DISPATCH_LAYOUT_LOG', ['0', '1'], 1)[0] === '1',
  };
  return known;
}

/** Why the environment forbids a device, if it does. */
export function disabledBy(device: DeviceName): Obstacle | undefined {
  // 'cuda' stands for all GPUs here
  const [kind] = device.split(':');
  if (!settings().disabled.includes(kind)) return undefined;
  return {
    code: 'DISABLED',
    reason: kind === device ? 'DISPATCH_LAYOUT_DISABLE names it' : `DISPATCH_LAYOUT_DISABLE names ${kind}`,
    remedy: `Take '${kind}' out of DISPATCH_LAYOUT_DISABLE.`,
  };
}

/**
 * The value of a variable. It is also undefined if the variable is empty, if there is no environment (browsers), or if
 * reading it is denied (Deno).
 */
export function variable(name: string): string | undefined {
  try {
    return (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.[name] || undefined;
  } catch {
    return undefined;
  }
}

/** The error that says that the value of a variable is not one of the allowed ones. */
export function variableError(name: string, value: string, allowed: string): DispatchLayoutError {
  return wrongValue('ENVIRONMENT', `the environment variable ${name}`, value, `Unset it, or set it to ${allowed}.`);
}

/**
 * The lines that can be logged about the choice of a device. They are here, so that runtimes without an environment
 * need not contain them.
 */
const lines = {
  meant: (device: string) => `DISPATCH_LAYOUT_DEVICE makes 'auto' mean '${device}'`,
  chosen: (device: string, option: string, reason: string) =>
    `device '${device}' is chosen (device: '${option}'): ${reason}`,
  large: (device: string, fromSelections: number) =>
    `device '${device}' computes host arrays from ${fromSelections} selections on`,
  unavailable: (device: string, code: string, reason: string) =>
    `device '${device}' is not available (${code}): ${reason}`,
};

const logged = new Set<string>();

/** Prints a line about the choice of a device, if logging is asked for. Each line is printed only once. */
export function log<Event extends keyof typeof lines>(event: Event, ...facts: Parameters<(typeof lines)[Event]>): void {
  if (!settings().isLogged) return;
  const line = (lines[event] as (...facts: unknown[]) => string)(...facts);
  if (logged.has(line)) return;
  logged.add(line);
  console.warn(`dispatch-layout: ${line}`);
}

/** The names in a comma-separated list. */
function readList(name: string, allowed: readonly string[], atMost = allowed.length): string[] {
  const value = variable(name);
  if (value === undefined) return [];
  const items = value.split(',').map((item) => item.trim());
  const isAllowed = (item: string) =>
    item !== anyGpuName && allowed.includes(ordinalIn(item) === undefined ? item : anyGpuName);
  if (items.length <= atMost && items.every(isAllowed)) return items;
  throw variableError(name, value, `${atMost > 1 ? 'a list of ' : 'one of '}${allowed.join(', ')}`);
}
