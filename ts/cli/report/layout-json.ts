/**
 * The report of a layout for programs, as `docs/command-line.md` describes it. Names may be added to it; none may be
 * renamed.
 *
 * @module
 */
import { jsonOfGates } from './gates.ts';
import { jsonOfFile, jsonOfResult } from './json-parts.ts';
import type { LayoutResult } from './layout-result.ts';
import type { LayerStatistics } from './layout-statistics.ts';
import { jsonOfTraffic } from './traffic.ts';

/** The report as one JSON document, on one line. */
export function formatLayoutJson(result: LayoutResult): string {
  const { computed, placement } = result;
  const report = {
    ...jsonOfFile(computed.routing),
    numExperts: computed.numExperts,
    numRanks: computed.numRanks,
    numRanksPerNode: computed.numRanksPerNode,
    numRdmaRanks: computed.numRdmaRanks,
    placement: placement.name,
    ...jsonOfResult(result, plain),
    traffic: jsonOfTraffic(result.traffic, result.bytesPerToken),
    ...jsonOfExperts(result),
    findings: result.findings,
    ...jsonOfGates(result.gates),
    ...(result.planFindings !== null && { planFindings: result.planFindings }),
    ...(result.idsSha256 !== null && { idsSha256: result.idsSha256 }),
  };
  return `${JSON.stringify(report)}\n`;
}

/** The statistics of experts, if they were asked for. */
function jsonOfExperts({ expertStatistics, computed }: LayoutResult): object {
  if (expertStatistics === null) return {};
  const { perLayer, ...overAll } = expertStatistics;
  const { layers } = computed.routing;
  return {
    experts: { ...overAll, layers: perLayer.map((layer, index) => ({ layer: layers?.[index] ?? null, ...layer })) },
  };
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
