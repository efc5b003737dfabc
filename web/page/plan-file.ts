/**
 * Reads a plan from a file that the user chose.
 *
 * @module
 */
import type { StoredPlan } from '../../ts/capture/settings.ts';
import { readPlan } from '../../ts/placement/index.ts';
import { readNamedIntegers } from '../../ts/routing/read-integers.ts';

/** The most bytes of a file that can be a plan. */
const maxBytes = 2 ** 28;

/**
 * Reads a plan in any form.
 *
 * @param numRanks the number of ranks, for forms that do not say it.
 * @throws Error with a full sentence.
 */
export async function readPlanFile(file: File, numExperts: number, numRanks: number): Promise<StoredPlan> {
  if (file.size > maxBytes) throw new Error(`${file.name} is longer than ${maxBytes} bytes, and so no plan.`);
  const plan = readPlan(await contentOf(file), { numExperts, numRanks });
  const { physicalToLogical, layerIds } = plan;
  return {
    name: file.name,
    numRanks: plan.numRanks,
    layerIds,
    physicalToLogical: physicalToLogical.map((slots) => Array.from(slots)),
  };
}

/** What `readPlan` takes: a text, an array, or arrays by their names. */
async function contentOf(file: File): Promise<unknown> {
  const head = new Uint8Array(await file.slice(0, 6).arrayBuffer());
  const start = String.fromCharCode(...head);
  // What is neither .npy nor a zip (.npz, .pt) is text
  if (!start.startsWith('\x93NUMPY') && !start.startsWith('PK')) return file.text();
  const arrays = await readNamedIntegers(file);
  const [[name, alone]] = arrays;
  const isNamedByForm = ['phy2log', 'physical_to_logical_map'].includes(name);
  return arrays.size === 1 && !isNamedByForm ? alone : Object.fromEntries(arrays);
}
