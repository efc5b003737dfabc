/**
 * The `.npz` of `--out`: the outputs under DeepEP's names, with a leading axis of layers where all layers were computed.
 *
 * @module
 */
import { type RoutingLayout, smallerRemedy } from '../compute.ts';
import { deepepName } from '../deepep-name.ts';
import { withMemory } from '../fail.ts';
import { dimensionsOf, layoutComputations, layoutForm, type Output, type OutputShape } from '../library.ts';
import { formatNpy } from './npy.ts';
import { packNpz } from './npz.ts';
import { writeWholeFile } from './write-file.ts';

const withinOneNode: OutputShape = {
  numTokens: 1,
  numTopk: 1,
  numExperts: 1,
  numRanks: 1,
  numRdmaRanks: 1,
  computation: layoutComputations.bytes,
};
const isInEveryFile = (output: Output): boolean => dimensionsOf(output, withinOneNode) !== null;

/**
 * The outputs in the order of the file. Those that layouts within one node do not have come last. The order must not
 * change, so that the same input gives the same bytes in every version.
 */
const outputsInFile: readonly Output[] = [
  ...layoutForm.outputs.filter((output) => isInEveryFile(output)),
  ...layoutForm.outputs.filter((output) => !isInEveryFile(output)),
];

/** @param withLayerAxis whether the arrays begin with the dimension of layers. */
export function writeLayoutFile(path: string, layout: RoutingLayout, withLayerAxis: boolean): void {
  const numBytes = Object.values(layout.blocks).reduce((sum, block) => sum + (block?.byteLength ?? 0), 0);
  const what = `the ${numBytes} bytes of ${path}`;
  writeWholeFile(
    path,
    withMemory(what, smallerRemedy(layout.numLayers), () => format(path, layout, withLayerAxis)),
  );
}

function format(path: string, layout: RoutingLayout, withLayerAxis: boolean): Uint8Array {
  const arrays: Record<string, Uint8Array> = {};
  for (const output of outputsInFile) {
    const { name } = output;
    const dimensions = dimensionsOf(output, { ...layout, computation: layoutComputations[layout.mask] });
    if (dimensions === null) continue;
    const block = layout.blocks[name as keyof RoutingLayout['blocks']];
    if (block === null) throw new Error(`${name} was not kept`);
    const shape = withLayerAxis ? [layout.numLayers, ...dimensions] : dimensions;
    // An output of type uint8 holds 0 and 1, as numpy's type bool does, unless it is packed.
    const isBool = output.type === 'uint8' && layout.mask !== 'bits';
    arrays[deepepName(name)] = formatNpy(block, shape, isBool ? 'b1' : undefined);
  }
  return packNpz(arrays, path);
}
