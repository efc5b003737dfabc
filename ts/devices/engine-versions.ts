/**
 * Versions of the runtime and its JavaScript engine, for reports.
 *
 * @module
 */
import type { DeviceVersions } from '../errors/availability.ts';

/** The versions that the runtime tells. */
export function engineVersions(): DeviceVersions {
  if (IS_NODE) {
    // Other runtimes may choose the bundle for Node.js, too
    const versions = (globalThis as { process?: { versions?: DeviceVersions } }).process?.versions ?? {};
    return Object.fromEntries(
      ['node', 'bun', 'deno', 'v8', 'webkit'].flatMap((name) => (versions[name] ? [[name, versions[name]]] : [])),
    );
  }
  return {};
}
