/**
 * The report of an order for programs, as `docs/command-line.md` describes it. Names may be added to it; none may be
 * renamed.
 *
 * @module
 */
import { jsonOfFile, jsonOfResult } from './json-parts.ts';
import type { OrderResult } from './order-result.ts';
import type { OrderStatistics } from './order-statistics.ts';

/** The report as one JSON document, on one line. */
export function formatOrderJson(result: OrderResult): string {
  const { computed } = result;
  const isByExpert = computed.computation.kind === 'byExpert';
  const report = {
    ...jsonOfFile(computed.routing),
    numExperts: computed.numExperts,
    ...order(result),
    ...jsonOfResult(result, isByExpert ? plainByExpert : plainByRank),
    ...(result.planFindings !== null && { planFindings: result.planFindings }),
  };
  return `${JSON.stringify(report)}\n`;
}

function order({ computed: { computation, numRanks }, placement }: OrderResult): object {
  if (computation.kind === 'byRank') {
    return { by: 'rank', numRanks, placement: placement?.name, winner: computation.winner };
  }
  const { firstExpert, numLocalExperts, alignment } = computation;
  return { by: 'expert', firstExpert, numLocalExperts, alignment };
}

function plainByExpert({ counts, imbalance, numRows, numPaddingRows }: OrderStatistics): object {
  return { numTokensPerExpert: Array.from(counts), expertImbalance: imbalance, numRows, numPaddingRows };
}

function plainByRank({ counts, imbalance, numRows }: OrderStatistics): object {
  return { numTokensPerRank: Array.from(counts), rankImbalance: imbalance, numRows };
}
