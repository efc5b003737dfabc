/**
 * The report of a dispatch for programs, as `docs/command-line.md` describes it. Names may be added to it; none may be
 * renamed.
 *
 * @module
 */
import { inFlags } from '../fail.ts';
import { type DispatchResult, type DispatchStatistics, perLayer, total } from './dispatch-result.ts';

/** The report as one JSON document, on one line. */
export function formatDispatchJson(result: DispatchResult): string {
  const { dispatch, invalidExperts, placement, planFindings, deviceReason } = result;
  const { ranks, numRanks, numRanksPerNode, numRdmaRanks, numExperts, numTopk, alignment, device } = dispatch;
  const plain = (statistics: DispatchStatistics): object => ({
    ...Object.fromEntries(
      Object.entries(statistics).map(([name, value]) => [
        name,
        value instanceof Float64Array ? Array.from(value) : value,
      ]),
    ),
    numTokensBetweenRanks: rowsOf(statistics.numTokensBetweenRanks, numRanks),
    numTokensBetweenNodes: rowsOf(statistics.numTokensBetweenNodes, numRdmaRanks),
  });
  const report = {
    files: ranks.map(({ name, routing }) => ({
      file: name,
      format: routing.format,
      producer: routing.producer,
      idType: routing.idType,
      axes: routing.axes,
      axesBecause: inFlags(routing.axesBecause),
      tokens: routing.tokens,
    })),
    numLayersInFile: ranks[0].numLayersInFile,
    topk: numTopk,
    numExperts,
    ...('plan' in placement && { numPhysicalExperts: dispatch.numPhysicalExperts }),
    numRanks,
    numRanksPerNode,
    numRdmaRanks,
    placement: placement.name,
    alignment,
    invalidExperts,
    device: { name: device, reason: deviceReason },
    total: plain(total(dispatch)),
    layers: perLayer(dispatch).map((layer, index) => ({ layer: ranks[0].layers?.[index] ?? null, ...plain(layer) })),
    ...(planFindings !== null && { planFindings }),
  };
  return `${JSON.stringify(report)}\n`;
}

/** A square matrix as an array of its rows. */
function rowsOf(matrix: Float64Array, width: number): number[][] {
  return Array.from({ length: width }, (_, row) => Array.from(matrix.subarray(row * width, (row + 1) * width)));
}
