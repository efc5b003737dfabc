/**
 * The file of a layout: the outputs under DeepEP's names.
 *
 * @module
 */
import type { RoutingLayout } from '../compute/layout.ts';
import { dimensionsOf, layoutComputations, layoutForm, type Output, type OutputShape } from '../library.ts';
import { writeOutputsFile } from './outputs-file.ts';

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

/** Writes the layouts of all chosen layers. */
export function writeLayoutFile(path: string, layout: RoutingLayout): void {
  writeOutputsFile(path, layout, outputsInFile);
}
