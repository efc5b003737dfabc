/**
 * Reads the placement of `--placement` as a plan: which expert is in each slot of each layer.
 *
 * @module
 */
import { readFile } from 'node:fs/promises';
import { readNamedIntegers } from '../../routing/read-integers.ts';
import { describeSystemError, fail, inFlags, UsageError } from '../fail.ts';
import { isPlacementName } from '../flags.ts';
import { DispatchLayoutError, loadPlacement, type PlacementPlan } from '../library.ts';
import { type ChosenRouting, displayName } from './routing.ts';

/** A placement in which experts may have replicas. */
export interface ChosenPlan {
  readonly plan: PlacementPlan;
  /** In one word. */
  readonly name: 'linear' | 'round_robin' | 'plan';
  /** In the words of the report, behind the number of experts. */
  readonly inWords: string;
}

/**
 * Reads the value of `--placement` as a plan.
 *
 * @param flag the name of a placement or of a file, or `-` for standard input. Default: `linear`.
 */
export async function readChosenPlan(flag = 'linear', numExperts: number, numRanks: number): Promise<ChosenPlan> {
  const { linear, roundRobin } = await loadPlacement();
  if (isPlacementName(flag)) {
    const plan = (flag === 'linear' ? linear : roundRobin)({ numExperts, numRanks });
    return { plan, name: flag, inWords: `placed ${flag}` };
  }
  const plan = await readPlanFile(flag, numExperts, numRanks);
  return { plan, name: 'plan', inWords: `placed by ${displayName(flag)}` };
}

async function readPlanFile(path: string, numExperts: number, numRanks: number): Promise<PlacementPlan> {
  const name = displayName(path);
  const content = await readContent(path, name);
  const { readPlan } = await loadPlacement();
  try {
    const plan = readPlan(content, { numExperts, numRanks });
    if (plan.numRanks === numRanks && plan.numExperts === numExperts) return plan;
    return fail(`${name} is for ${plan.numExperts} experts and ${plan.numRanks} ranks; correct --num-ranks`);
  } catch (error) {
    if (!(error instanceof DispatchLayoutError)) throw error;
    throw new UsageError(`${name}: ${inFlags(error.message)}`, { cause: error });
  }
}

/** What `readPlan` takes: a text, an array, or arrays by their names. */
async function readContent(path: string, name: string): Promise<unknown> {
  const bytes = await readBytes(path, name);
  // What is neither .npy nor a zip (.npz, .pt) is text
  if (!/^(\x93NUMPY|PK)/.test(Buffer.from(bytes.subarray(0, 6)).toString('latin1'))) return decode(bytes, name);
  const arrays = await readNamedIntegers(bytes, { name });
  const [alone] = arrays.values();
  if (arrays.size !== 1 || isNamedByForm([...arrays.keys()][0])) return Object.fromEntries(arrays);
  const { shape } = alone;
  if (shape.length !== 1 && shape.length !== 2) {
    fail(`${name} has shape [${shape.join(', ')}]; the ranks of experts have shape [experts] or [layers, experts]`);
  }
  return alone;
}

/** Whether an array has the name that a form of plans gives it. */
function isNamedByForm(name: string): boolean {
  return ['phy2log', 'physical_to_logical_map'].includes(name);
}

async function readBytes(path: string, name: string): Promise<Uint8Array> {
  try {
    if (path !== '-') return await readFile(path);
    const chunks: Uint8Array[] = [];
    for await (const chunk of process.stdin) chunks.push(chunk);
    return Buffer.concat(chunks);
  } catch (error) {
    throw describeSystemError('read', name, error);
  }
}

function decode(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return fail(`${name} is no text in UTF-8, and none of .npy, .npz and .pt; a plan is one of these`);
  }
}

/**
 * For each chosen layer, the index of its layer in a plan: the layer of the same number. A plan of one layer is for all.
 */
export function layersInPlan({ plan, inWords }: ChosenPlan, routing: ChosenRouting): readonly number[] {
  const { layers, chosen, name } = routing;
  if (plan.numLayers === 1) return chosen.map(() => 0);
  if (layers === null) {
    return fail(
      `the experts are ${inWords}, for ${plan.numLayers} layers, and ${name} has one; give a plan of one layer`,
    );
  }
  return layers.map((layer) => {
    const index = plan.layerIds.indexOf(layer);
    if (index >= 0) return index;
    return fail(
      `the experts are ${inWords}, which has no layer ${layer} of ${name}, but ${plan.layerIds.join(', ')}; choose one with --layer`,
    );
  });
}
