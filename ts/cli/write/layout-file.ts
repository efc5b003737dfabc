/**
 * The file of a layout: the outputs under DeepEP's names.
 *
 * @module
 */
import type { RoutingLayout } from '../compute/layout.ts';
import {
  dimensionsOf,
  layoutComputations,
  type OutputName,
  type OutputShape,
  outputNames,
  outputs,
} from '../library.ts';
import { writeOutputsFile } from './outputs-file.ts';

const withinOneNode: OutputShape = {
  numTokens: 1,
  numTopk: 1,
  numExperts: 1,
  numRanks: 1,
  numRdmaRanks: 1,
  computation: layoutComputations.bytes,
};
const isInEveryFile = (name: OutputName): boolean => dimensionsOf(outputs[name], withinOneNode) !== null;

/**
 * The outputs in the order of the file. Those that layouts within one node do not have come last. The order must not
 * change, so that the same input gives the same bytes in every version.
 */
const outputsInFile: readonly OutputName[] = [
  ...outputNames.layout.filter((name) => isInEveryFile(name)),
  ...outputNames.layout.filter((name) => !isInEveryFile(name)),
];

/** Writes the layouts of all chosen layers. */
export function writeLayoutFile(path: string, layout: RoutingLayout): void {
  writeOutputsFile(path, layout, outputsInFile);
}
