/**
 * Layouts for several numbers of ranks, in one pass: each piece is computed for all of them while it is in the cache.
 *
 * @module
 */
import { isDense } from '../../findings/find.ts';
import { type DeviceOption, ExpertGroup, type PlacementName } from '../library.ts';
import type { ChosenRouting } from '../read/routing.ts';
import { addTo } from './computed-layers.ts';
import type { IdOptions } from './expert-loads.ts';
import { createWorkspace, runPass } from './pass.ts';
import { SentTokens } from './sent-tokens.ts';

/** What is computed. */
export interface SweepJob {
  readonly routing: ChosenRouting;
  readonly numExperts: number;
  readonly options: IdOptions;
  readonly numRanks: readonly number[];
  readonly numRanksPerNode: number | undefined;
  readonly placement: PlacementName;
  readonly device: DeviceOption;
}

/** The counts for one number of ranks. */
export interface SweptRanks {
  readonly numRanks: number;
  readonly numNodes: number;
  readonly numRanksPerNode: number;
  /** The tokens that go to each rank and to each node, of each layer. Within one node, there is one count of nodes. */
  readonly layers: readonly { readonly ofRanks: Float64Array; readonly ofNodes: Float64Array }[];
  /** What they send to each other. */
  readonly sent: SentTokens;
}

/** What a sweep has counted. */
export interface Sweep {
  readonly ranks: readonly SweptRanks[];
  /** For each layer, whether it holds one expert only. */
  readonly isDense: readonly boolean[];
}

/** Computes the layouts of all layers for every number of ranks. */
export async function computeSweep(job: SweepJob): Promise<Sweep> {
  const { routing, numExperts, options, placement, device, numRanksPerNode } = job;
  const sweeps = job.numRanks.map((numRanks) => {
    const group = new ExpertGroup({ numRanks, numRanksPerNode, placement, device });
    const workspace = createWorkspace({
      routing,
      group,
      numExperts,
      options: { ...options, mask: 'none' },
      orders: {},
    });
    const layers = routing.chosen.map(() => ({
      ofRanks: new Float64Array(numRanks),
      ofNodes: new Float64Array(group.numRdmaRanks),
    }));
    return { group, workspace, layers, sent: new SentTokens(routing, group) };
  });
  const smallest = sweeps.reduce((least, each) =>
    each.workspace.maxTokens < least.workspace.maxTokens ? each : least,
  );
  const { workspace } = smallest;
  const counts = routing.chosen.map(() => new Float64Array(numExperts));
  await runPass({
    routing,
    workspace,
    numExperts,
    compute(numTokens, { layer, file }) {
      const ids = workspace.topkIdx.subarray(0, numTokens * workspace.numTopk);
      for (const each of sweeps) {
        // Both have the type of the file
        if (each !== smallest) (each.workspace.topkIdx as { set(from: unknown): void }).set(ids);
        const layout = each.workspace.run(numTokens);
        const { ofRanks, ofNodes } = each.layers[layer];
        addTo(ofRanks, layout.numTokensPerRank);
        if (layout.numTokensPerRdmaRank !== null) addTo(ofNodes, layout.numTokensPerRdmaRank);
        each.sent.add(layer, file, layout);
        if (each === smallest) addTo(counts[layer], layout.numTokensPerExpert);
      }
    },
    receive() {},
  });
  const { tokens, topk } = routing.routing;
  return {
    ranks: sweeps.map(({ group: { numRanks, numRanksPerNode: perNode, numRdmaRanks }, layers, sent }) => ({
      numRanks,
      numNodes: numRdmaRanks,
      numRanksPerNode: perNode,
      layers,
      sent,
    })),
    isDense: counts.map((each) => isDense({ counts: each, numTokens: tokens, numInvalid: 0 }, topk)),
  };
}
