/**
 * Reads the placement of `--placement` as a plan: which expert is in each slot of each layer.
 *
 * @module
 */
import { createReadStream } from 'node:fs';
import { readNamedIntegers } from '../../routing/read-integers.ts';
import { describeSystemError, fail, inFlags, UsageError } from '../fail.ts';
import { isPlacementName } from '../flags.ts';
import { DispatchLayoutError, loadPlacement, type PlacementPlan } from '../library.ts';
import { type ChosenPlacement, placementOfName, readTable } from './placement.ts';
import { type ChosenCounts, type ChosenRouting, displayName } from './routing.ts';

/** The most bytes of a file that can be a plan. */
const maxBytes = 2 ** 28;

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
  const name = displayName(flag);
  return readPlanContent(await readContent(await readBytes(flag, name), name), name, numExperts, numRanks);
}

/**
 * Reads the value of `--placement` as a plan, or where it needs none, as what groups take: a name, or the rank of each
 * expert, which is the same for all layers.
 *
 * @param flag the name of a placement or of a file, or `-` for standard input.
 */
export async function readPlacementOrPlan(
  flag: string | undefined,
  numExperts: number,
  numRanks: number,
): Promise<ChosenPlacement | ChosenPlan> {
  if (flag === undefined || isPlacementName(flag)) return placementOfName(flag);
  const name = displayName(flag);
  const bytes = await readBytes(flag, name);
  const content = await readContent(bytes, name);
  return isTable(content)
    ? readTable(bytes, name, numExperts, numRanks)
    : readPlanContent(content, name, numExperts, numRanks);
}

/** Whether content is, or is meant to be, one list of ranks. */
function isTable(content: unknown): boolean {
  if (typeof content === 'string') return !/^\s*(\{|\[\s*\[)|^[^[]*:/.test(content);
  return Array.isArray(Object(content).shape) && Object(content).shape.length === 1;
}

async function readPlanContent(
  content: unknown,
  name: string,
  numExperts: number,
  numRanks: number,
): Promise<ChosenPlan> {
  const { readPlan } = await loadPlacement();
  try {
    const plan = readPlan(content, { numExperts, numRanks });
    if (plan.numRanks === numRanks) return { plan, name: 'plan', inWords: `placed by ${name}` };
    return fail(`${name} is for ${plan.numRanks} ranks, and --num-ranks is ${numRanks}; correct it`);
  } catch (error) {
    if (!(error instanceof DispatchLayoutError)) throw error;
    throw new UsageError(`${name}: ${inFlags(error.message)}`, { cause: error });
  }
}

/** What `readPlan` takes: a text, an array, or arrays by their names. */
async function readContent(bytes: Uint8Array, name: string): Promise<unknown> {
  // What is neither .npy nor a zip (.npz, .pt) is text
  if (!/^(\x93NUMPY|PK)/.test(Buffer.from(bytes.subarray(0, 6)).toString('latin1'))) return decode(bytes, name);
  const arrays = await readNamedIntegers(bytes, { name });
  const [alone] = arrays.values();
  if (arrays.size !== 1 || isNamedByForm([...arrays.keys()][0])) return Object.fromEntries(arrays);
  const { shape } = alone;
  if (shape.length !== 1 && shape.length !== 2) {
    fail(
      `${name} has shape [${shape.join(', ')}]; a placement has shape [experts], or [layers, experts]: the rank of each expert`,
    );
  }
  return alone;
}

/** Whether an array has the name that a form of plans gives it. */
function isNamedByForm(name: string): boolean {
  return ['phy2log', 'physical_to_logical_map'].includes(name);
}

async function readBytes(path: string, name: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of path === '-' ? process.stdin : createReadStream(path)) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > maxBytes) fail(`${name} is longer than ${maxBytes} bytes, and so no placement; check its name`);
    }
  } catch (error) {
    throw describeSystemError('read', name, error);
  }
  return Buffer.concat(chunks);
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
export function layersInPlan(
  { plan, inWords }: ChosenPlan,
  { layers, chosen, name }: Pick<ChosenRouting | ChosenCounts, 'layers' | 'chosen' | 'name'>,
): readonly number[] {
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
