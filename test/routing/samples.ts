/**
 * Files of routing that lie beside the checkout on some machines. Tests that need them are skipped elsewhere.
 *
 * @module
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../../shared/samples/', import.meta.url));

/** Whether the samples are here. */
export const hasSamples = existsSync(folder);

/** The path of a sample. */
export function samplePath(name: string): string {
  return folder + name;
}

/** Whether a sample is here. */
export function hasSample(name: string): boolean {
  return existsSync(samplePath(name));
}

/** The bytes of a sample. */
export function sample(name: string): Buffer {
  return readFileSync(samplePath(name));
}

/** What is known of samples. Without them, nothing is. */
// biome-ignore lint/suspicious/noExplicitAny: the facts are JSON of many shapes, which the tests look into
export function sampleFacts(name: string): Record<string, any> {
  return hasSample(name) ? JSON.parse(sample(name).toString()) : {};
}
