/**
 * `dispatch-layout doctor`: prints for every device whether it can be used, whether it is chosen, and why.
 *
 * @module
 */

import { inFlags } from './fail.ts';
import { type DeviceDescription, type DeviceOption, describeDevices, type GpuDescription } from './library.ts';
import { print } from './print.ts';
import { deviceReason } from './report/device-reason.ts';
import { wrap } from './report/wrap.ts';
import { version } from './version.ts';

/** The flags of `doctor`, parsed. */
export interface DoctorFlags {
  readonly device: DeviceOption;
  readonly json?: true;
}

export async function doctor(flags: DoctorFlags): Promise<void> {
  const devices = describeDevices(flags.device);
  const versions = { library: version, node: process.versions.node, v8: process.versions.v8 };
  const platform = `${process.platform} ${process.arch}`;
  if (flags.json) {
    const printable = devices.map((each) => (each.cause === undefined ? each : { ...each, cause: String(each.cause) }));
    await print(`${JSON.stringify({ versions, platform, requested: flags.device, devices: printable })}\n`);
    return;
  }
  const lines = [
    `dispatch-layout ${versions.library}, Node.js ${versions.node} (V8 ${versions.v8}), ${platform}`,
    '',
    ...devices.flatMap((device) => [
      `${device.chosen ? '*' : ' '} ${device.device.padEnd(5)} ${status(device)}`,
      ...indented(deviceReason(device, devices, flags.device)),
      ...(device.cause === undefined ? [] : indented(`Cause: ${String(device.cause).split('\n')[0]}`)),
      ...indented(`Versions: ${versionsOf(device)}`),
      ...(device.gpus ?? []).flatMap((gpu) => indented(describeGpu(gpu))),
      ...(device.remedy === undefined ? [] : indented(`Remedy: ${inFlags(device.remedy)}`)),
    ]),
  ];
  await print(`${lines.join('\n')}\n`);
}

function status({ available, chosen, code }: DeviceDescription): string {
  if (!available) return `not available: ${code}`;
  return chosen ? 'available, chosen' : 'available';
}

function describeGpu({ device, ordinal, name, computeCapability, totalMemory, reason }: GpuDescription): string {
  const gpu = `GPU ${ordinal} (--device ${device}): ${name}`;
  if (reason !== undefined) return `${gpu}, which cannot be used, because ${reason}`;
  return `${gpu}, compute capability ${computeCapability}, ${(totalMemory / 2 ** 30).toFixed(0)} GiB`;
}

function versionsOf({ versions }: DeviceDescription): string {
  const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return names.length === 0 ? 'unknown' : names.join(', ');
}

function indented(text: string): string[] {
  return wrap(' '.repeat(8), text.split(/\s+/));
}
