/**
 * The `.npz` of `--out`: the outputs of all chosen layers, with a leading axis of layers where all layers of a file of
 * several were computed.
 *
 * @module
 */
import type { ComputedLayers } from '../compute/compute-layers.ts';
import { withMemory } from '../fail.ts';
import { dimensionsOf, type Output } from '../library.ts';
import { nameInFiles } from '../name-in-files.ts';
import { formatNpy } from './npy.ts';
import { packNpz } from './npz.ts';
import { writeWholeFile } from './write-file.ts';

/**
 * @param outputs the outputs, in the order of the file. Those that were not computed are left out.
 * @param more further `.npy` files, which come last, under their names.
 */
export function writeOutputsFile(
  path: string,
  computed: ComputedLayers<unknown>,
  outputs: readonly Output[],
  more: Readonly<Record<string, Uint8Array>> = {},
): void {
  const numBytes = Object.values(computed.blocks).reduce((sum, block) => sum + (block?.byteLength ?? 0), 0);
  const format = (): Uint8Array => packNpz({ ...formatOutputs(computed, outputs), ...more }, path);
  writeWholeFile(path, withMemory(`the ${numBytes} bytes of ${path}`, computed.remedy, format));
}

function formatOutputs(
  computed: ComputedLayers<unknown>,
  outputs: readonly Output[],
): Readonly<Record<string, Uint8Array>> {
  const { computation, routing, numLayers, blocks } = computed;
  const arrays: Record<string, Uint8Array> = {};
  for (const output of outputs) {
    const { name } = output;
    const dimensions = dimensionsOf(output, computed);
    if (dimensions === null) continue;
    const block = blocks[name];
    if (block === undefined || block === null) throw new Error(`${name} was not kept`);
    const shape = routing.hasLayerAxis ? [numLayers, ...dimensions] : dimensions;
    // An output of type uint8 holds 0 and 1, as numpy's type bool does, unless it is packed.
    const isPacked = computation.kind === 'layout' && computation.mask === 'bits';
    const isBool = output.type === 'uint8' && !isPacked;
    arrays[nameInFiles(name)] = formatNpy(block, shape, isBool ? 'b1' : undefined);
  }
  return arrays;
}
