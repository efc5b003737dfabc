/**
 * What the conformance suite takes from the machine: settings from the environment, and the files of real traces. This
 * is the only file of the suite that depends on Node.js. Another runtime has its own version of these functions.
 *
 * @module
 */
import { existsSync, readFileSync } from 'node:fs';

/** A setting of the test run, or undefined. */
export function setting(name: string): string | undefined {
  const value = process.env[name];
  return value === undefined || value === '' ? undefined : value;
}

/** The bytes of a trace file in `../shared/traces` beside the repository, or null if the file is not there. */
export function readTrace(name: string): Uint8Array | null {
  const url = new URL(`../../../shared/traces/${name}`, import.meta.url);
  return existsSync(url) ? readFileSync(url) : null;
}
