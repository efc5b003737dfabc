/**
 * The limits of `--fail-above` for a layout: its figures are those of tokens.
 *
 * @module
 */
import { fail } from './fail.ts';
import { checkGate, type Gate, type GateResult, type GateSubject } from './gate.ts';
import { loadPlacement } from './library.ts';
import type { ChosenRouting } from './read/routing.ts';
import type { LayerStatistics } from './report/layout-statistics.ts';

/** Refuses limits of what there is not. */
export function refuseLayoutGates(gates: readonly Gate[], numRanks: number, ranksPerNode = 8): void {
  for (const { text, of, subject } of gates) {
    if (of === 'windows') fail(`--fail-above ${text}: only place computes figures of windows; leave out 'windows:'`);
    if (subject === 'nodes' && numRanks <= ranksPerNode) {
      fail(`--fail-above ${text}: all ranks are in one node; pass a smaller --ranks-per-node, or leave out 'nodes:'`);
    }
  }
}

/** Compares the figures of each layer with the limits. */
export async function checkLayoutGates(
  gates: readonly Gate[],
  { layers }: ChosenRouting,
  ofLayers: readonly LayerStatistics[],
): Promise<readonly GateResult[]> {
  if (gates.length === 0) return [];
  const { balanceOf } = await loadPlacement();
  const countsOf = (statistics: LayerStatistics): Readonly<Record<GateSubject, ArrayLike<number> | null>> => ({
    ranks: statistics.numTokensPerRank,
    nodes: statistics.numTokensPerRdmaRank,
    experts: statistics.numTokensPerExpert,
  });
  return Promise.all(
    gates.map((gate) => {
      const gated = ofLayers.map((statistics, index) => ({
        layer: layers?.[index] ?? null,
        balance: balanceOf(countsOf(statistics)[gate.subject] ?? []),
        windows: null,
      }));
      return checkGate(gate, gated);
    }),
  );
}
