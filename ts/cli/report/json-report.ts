/**
 * The report for programs, as `docs/command-line.md` describes it. Names may be added to it; none may be renamed.
 *
 * @module
 */
import type { RunResult } from './run-result.ts';
import type { LayerStatistics } from './statistics.ts';

/** The report as one JSON document, on one line. */
export function formatJsonReport(result: RunResult): string {
  const { layout, routing } = result;
  const numTokens = layout.numTokens * layout.numLayers;
  const report = {
    file: result.name,
    dtype: routing.dtype,
    numLayersInFile: routing.numLayersInFile,
    numTokens: layout.numTokens,
    numTopk: layout.numTopk,
    numExperts: layout.numExperts,
    numRanks: layout.numRanks,
    numRanksPerNode: layout.numRanksPerNode,
    numRdmaRanks: layout.numRdmaRanks,
    placement: result.placement,
    invalidExperts: result.invalidExperts,
    device: { name: layout.device, reason: result.deviceReason },
    timing: {
      seconds: layout.timing.seconds,
      tokensPerSecond: layout.timing.seconds === 0 ? null : numTokens / layout.timing.seconds,
      numPasses: layout.timing.numPasses,
      warm: layout.timing.warm,
    },
    total: plain(result.statistics),
    layers: result.perLayer.map((layer, index) => ({ layer: routing.layers?.[index] ?? null, ...plain(layer) })),
  };
  return `${JSON.stringify(report)}\n`;
}

/** Turns typed arrays into plain ones, since `JSON.stringify` writes a typed array as an object. */
function plain(statistics: LayerStatistics): object {
  const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, ...numbers } = statistics;
  return {
    numTokensPerRank: Array.from(numTokensPerRank),
    numTokensPerRdmaRank: numTokensPerRdmaRank === null ? null : Array.from(numTokensPerRdmaRank),
    numTokensPerExpert: Array.from(numTokensPerExpert),
    ...numbers,
  };
}
