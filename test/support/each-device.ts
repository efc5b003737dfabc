/**
 * Runs a group of tests on every available device of the conformance table, except for its variants.
 *
 * @module
 */
import { type TestDevice, testDevices } from '../conformance/devices.ts';

export function describeOnEachDevice(title: string, declare: (device: TestDevice) => void): void {
  for (const device of testDevices()) {
    if (device.unavailable === null && !device.isVariant) describe(`${title} (${device.name})`, () => declare(device));
  }
}
