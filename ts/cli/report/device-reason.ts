/**
 * Why a device is available or not, and why it was chosen or not, in a sentence.
 *
 * @module
 */
import { type DeviceDescription, type DeviceOption, describeDevices } from '../library.ts';

/**
 * The reason for one of the devices that `describeDevices(requested)` returned, without a full stop.
 *
 * @param devices all devices that it returned.
 */
export function deviceReason(
  description: DeviceDescription,
  devices: readonly DeviceDescription[],
  requested: DeviceOption,
): string {
  const chosen = devices.find((device) => device.chosen)?.device;
  const other = chosen ?? (requested === 'auto' ? 'another device' : requested);
  return description.reason + choiceClause(description, other);
}

/** The reason for the device that computes host arrays. */
export function reasonOfChosenDevice(requested: DeviceOption): string {
  const devices = describeDevices(requested);
  const chosen = devices.find((device) => device.chosen);
  return chosen === undefined ? '' : deviceReason(chosen, devices, requested);
}

/** @param other the device that host arrays go to, if it is not this one. */
function choiceClause({ choice, device, fromSelections }: DeviceDescription, other: string): string {
  switch (choice) {
    case 'FASTEST':
      return ', and it is the fastest for host arrays';
    case 'ASKED_FOR':
      return `, and ${device} is asked for`;
    case 'ASKED_FOR_BY_ENVIRONMENT':
      return `, and DISPATCH_LAYOUT_DEVICE asks for ${device}`;
    case 'OTHER_IS_FASTER':
      return `; ${other} is preferred`;
    case 'OTHER_IS_ASKED_FOR':
      return `; ${other} is asked for`;
    case 'OTHER_IS_ASKED_FOR_BY_ENVIRONMENT':
      return `; DISPATCH_LAYOUT_DEVICE asks for ${other}`;
    case 'FOR_TENSORS':
      return `; chosen for tensors on the GPU, while host arrays go to ${other}`;
    case 'FOR_LARGE_ARRAYS':
      return `; chosen for tensors on the GPU, and for host arrays from ${fromSelections} selections on`;
    case 'UNAVAILABLE':
      return '';
  }
}
