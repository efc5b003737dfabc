/**
 * The arrays that the outputs of all chosen layers are written to.
 *
 * @module
 */
import { fail, withMemory } from '../fail.ts';
import { idTypes, type Output, type OutputName, type OutputShape } from '../library.ts';
import { nameInFiles } from '../name-in-files.ts';
import type { Routing } from '../read/routing.ts';

/** The outputs of all layers. */
export interface OutputsOfLayers<Arrays> {
  /** The outputs of each layer. Rows that are not kept are in one array for all layers, each of which overwrites it. */
  readonly layers: readonly Arrays[];
  readonly blocks: OutputBlocks;
}

/**
 * Each output of all layers in one array, `[numLayers, …]`, row-major. It is `null` where a computation of this shape
 * does not have the output, and where rows are not kept.
 */
export type OutputBlocks = Readonly<Partial<Record<OutputName, Block | null>>>;

type Block = Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

/** The longest array that Node.js 20 can allocate. */
const maxBlockBytes = 2 ** 32 - 1;

/**
 * Allocates the outputs of all layers. An output that is kept for all layers is in one block, of which each has a part.
 *
 * @param keepRows whether the outputs whose length depends on the number of tokens, which are long, are kept. The others
 *   always are.
 * @param remedy what to do if this takes too much memory.
 */
export function allocateOutputs<Arrays>(
  routing: Routing,
  shape: OutputShape,
  keepRows: boolean,
  remedy: string,
): OutputsOfLayers<Arrays> {
  const blocks: Partial<Record<OutputName, Block | null>> = {};
  const layers = routing.views.map((): Partial<Record<OutputName, Block | null>> => ({}));
  for (const output of shape.computation.form.outputs) {
    const { name } = output;
    const length = output.length(shape);
    const isKept = output.kind === 'count' || keepRows;
    const numElements = length === null ? null : (isKept ? layers.length : 1) * length;
    const block = numElements === null ? null : allocateBlock(output, numElements, routing.name, remedy);
    blocks[name] = isKept ? block : null;
    layers.forEach((layer, index) => {
      layer[name] =
        block === null || length === null || !isKept ? block : block.subarray(index * length, (index + 1) * length);
    });
  }
  // The loop has set every output of the computation, and its arrays are of the types that the table says.
  return { blocks, layers: layers as readonly unknown[] as readonly Arrays[] };
}

function allocateBlock({ name, type }: Output, length: number, file: string, remedy: string): Block {
  const what = `${nameInFiles(name)} of ${file}`;
  const bytes = length * idTypes[type].bytes;
  if (bytes > maxBlockBytes) fail(`${what} would take ${bytes} bytes, over the limit of 4 GiB; ${remedy}`);
  return withMemory(`the ${bytes} bytes of ${what}`, remedy, () => new idTypes[type].array(length) as Block);
}
