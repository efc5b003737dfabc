/**
 * The choice of a device: which of them computes what, given a device option.
 *
 * @module
 */
import { devices, disabledBy, log, settings } from '#platform';
import type { Device, DeviceStreams } from './devices/device.ts';
import {
  type Availability,
  anyGpuName,
  type DeviceDescription,
  type DeviceName,
  type DeviceOption,
  describeObstacle,
} from './errors/availability.ts';
import { wrongValue } from './errors/checks.ts';
import { DeviceUnavailableError, DispatchLayoutError } from './errors/errors.ts';
import type { LayoutRequest } from './layout/layout-request.ts';
import { describe } from './values/describe.ts';

/** A device with streams. */
export type StreamsDevice = Device & { readonly streams: DeviceStreams };

/**
 * What an option means here. The environment may say what `auto` stands for.
 *
 * @throws DispatchLayoutError `ENVIRONMENT`
 */
export function readDeviceOption(option: DeviceOption = 'auto'): DeviceOption {
  if (option !== 'auto') return option;
  const { device } = settings();
  if (device !== 'auto') log('meant', device);
  return device;
}

/**
 * The device on which a group with this option computes host arrays. With `auto`, another device may compute large
 * ones: see {@link deviceForLargeArrays}.
 *
 * @throws DeviceUnavailableError if the option names a device that cannot be used here.
 * @throws DispatchLayoutError `OPTION` if the option names no device.
 */
export function chooseDevice(option: DeviceOption): Device {
  return requireAvailable(resolve(option), option);
}

/**
 * The smallest number of selections for which {@link deviceForLargeArrays} may return a device; `Infinity` if it never
 * does.
 */
export function largeArraysFrom(): number {
  let from = Number.POSITIVE_INFINITY;
  for (const device of devices) {
    if (device.fromSelections === 0) break;
    from = Math.min(from, device.fromSelections);
  }
  return from;
}

/**
 * The device that `auto` prefers to the one of {@link chooseDevice} for host arrays as large as these, if there is one.
 */
export function deviceForLargeArrays(request: LayoutRequest): Device | undefined {
  const numSelections = request.numTokens * request.numTopk;
  for (const device of devices) {
    if (device.fromSelections === 0) return undefined;
    if (numSelections < device.fromSelections || device.suits?.(request) === false || !isUsable(device)) continue;
    log('large', device.name, device.fromSelections);
    return device;
  }
  return undefined;
}

/**
 * The device for tensors that are on the device of this name.
 *
 * @throws DeviceUnavailableError; DispatchLayoutError `OPTION` if the option names another device.
 */
export function chooseTensorDevice(option: DeviceOption, name: DeviceName): StreamsDevice {
  const device = resolve(name);
  if (option !== 'auto' && resolve(option) !== device) {
    throw new DispatchLayoutError('OPTION', `topkIdx is on '${name}', and the group's device is ${describe(option)}`, {
      value: option,
      remedy: `Make the group with device: '${name}', or copy the ids to the host.`,
    });
  }
  return requireAvailable(device, option) as StreamsDevice;
}

/**
 * The device with streams that an option stands for. `auto` stands for the first one.
 *
 * @throws DeviceUnavailableError; DispatchLayoutError `OPTION` if the option names a device without streams.
 */
export function chooseStreamsDevice(option: DeviceOption): StreamsDevice {
  // If no device has streams here, the first one of the list would have them elsewhere, and it says why it cannot be
  // used
  const device =
    option === 'auto' ? (devices.find(({ streams }) => streams !== undefined) ?? devices[0]) : resolve(option);
  requireAvailable(device, option);
  if (device.streams !== undefined) return device as StreamsDevice;
  throw wrongValue('OPTION', "the group's device", option, "Only a group with device: 'cuda' or 'auto' has streams.");
}

/**
 * The streams of the device that an option names. With `auto`, they are those of the device on which something was made
 * already.
 */
export function streamsInUse(option: DeviceOption): DeviceStreams | undefined {
  const device = option === 'auto' ? devices.find(({ streams }) => streams?.areInUse) : resolve(option);
  return device?.streams;
}

/** Prepares every device that this option may choose for host arrays, without blocking. */
export async function prepareAhead(option: DeviceOption): Promise<void> {
  for (const device of devices) {
    const isMeant = option === 'auto' || device === resolve(option);
    if (isMeant && disabledBy(device.name) === undefined) await device.prepareAhead?.();
  }
}

/**
 * Describes every device, in order of preference: whether it is available here, whether `device: option` would choose
 * it for host arrays, and why.
 *
 * @throws {@link DispatchLayoutError} `OPTION` if `option` names no device; `ENVIRONMENT`.
 */
export function describeDevices(option: DeviceOption = 'auto'): readonly DeviceDescription[] {
  const meant = readDeviceOption(option);
  const chosen = resolve(meant);
  return devices.map((device): DeviceDescription => {
    if (!IS_NODE) return describeDevice(device, chosen, option, meant);
    // Of several GPUs, the one that is asked for is described
    const described = device.named?.(meant as DeviceName) ?? device;
    const description = describeDevice(described, chosen, option, meant);
    return device.describeGpus === undefined ? description : { ...description, gpus: device.describeGpus() };
  });
}

function describeDevice(device: Device, chosen: Device, option: DeviceOption, meant: DeviceOption): DeviceDescription {
  const { name } = device;
  const availability = availabilityOf(device);
  if (!availability.isAvailable) return describeObstacle(name, availability);
  const { fromSelections } = device;
  const isChosen = device === chosen;
  return {
    device: name,
    available: true,
    chosen: isChosen,
    choice: choiceOf(device, isChosen, meant, meant !== option),
    fromSelections,
    code: 'AVAILABLE',
    reason: availability.reason,
    versions: availability.versions,
  };
}

function choiceOf(
  { fromSelections }: Device,
  isChosen: boolean,
  meant: DeviceOption,
  isMeantByEnvironment: boolean,
): DeviceDescription['choice'] {
  if (isMeantByEnvironment) return isChosen ? 'ASKED_FOR_BY_ENVIRONMENT' : 'OTHER_IS_ASKED_FOR_BY_ENVIRONMENT';
  if (meant !== 'auto') return isChosen ? 'ASKED_FOR' : 'OTHER_IS_ASKED_FOR';
  if (isChosen) return 'FASTEST';
  if (fromSelections === 0) return 'OTHER_IS_FASTER';
  return fromSelections === Number.POSITIVE_INFINITY ? 'FOR_TENSORS' : 'FOR_LARGE_ARRAYS';
}

/**
 * The device of an option, whether it is available or not. `auto` means the first available device that takes every
 * request; if there is none, the last device.
 */
function resolve(option: DeviceOption): Device {
  const last = devices[devices.length - 1];
  const device =
    option === 'auto'
      ? (devices.find((candidate) => candidate !== last && candidate.fromSelections === 0 && isUsable(candidate)) ??
        last)
      : (devices.find(({ name }) => name === option) ?? (IS_NODE ? deviceOfGpu(option) : undefined));
  if (device !== undefined) return device;
  const names = ['auto', ...devices.map(({ name }) => name), ...(IS_NODE ? [anyGpuName] : [])];
  throw wrongValue('OPTION', 'device', option, `It must be one of ${names.join(', ')}.`);
}

/** The device that is one of several GPUs. The option may be any value. */
function deviceOfGpu(option: unknown): Device | undefined {
  if (typeof option !== 'string') return undefined;
  for (const device of devices) {
    const numbered = device.named?.(option as DeviceName);
    if (numbered !== undefined) return numbered;
  }
  return undefined;
}

function requireAvailable(device: Device, option: DeviceOption): Device {
  const availability = availabilityOf(device);
  if (!availability.isAvailable) throw new DeviceUnavailableError(device.name, availability);
  log('chosen', device.name, option, availability.reason);
  return device;
}

/** Whether a device that `auto` prefers is available. If it is not, the reason is logged. */
function isUsable(device: Device): boolean {
  const availability = availabilityOf(device);
  if (availability.isAvailable) return true;
  log('unavailable', device.name, availability.code, availability.reason);
  return false;
}

/** A device that the environment disables is not even looked for. */
function availabilityOf(device: Device): Availability {
  const disabled = disabledBy(device.name);
  return disabled === undefined ? device.probe() : { isAvailable: false, ...disabled };
}
