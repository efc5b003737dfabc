/**
 * Computes the layouts of all chosen layers, and writes them to a file if one is named.
 *
 * @module
 */

import type { Collector } from '../../capture/collector.ts';
import { Observer } from '../../findings/observer.ts';
import { failOnLibraryError } from '../fail.ts';
import type { InvalidExperts } from '../flags.ts';
import {
  dimensionsOf,
  ExpertGroup,
  type ExpertGroupOptions,
  layoutComputations,
  layoutForm,
  type MaskForm,
  type Output,
  type OutputShape,
} from '../library.ts';
import { nameInFiles } from '../name-in-files.ts';
import type { ChosenRouting } from '../read/routing.ts';
import { NpzFile } from '../write/npz-file.ts';
import { addTo, type ComputedLayers, shapeInFile } from './computed-layers.ts';
import type { ExpertStatistics } from './expert-statistics.ts';
import { createMappedLayout, type LayoutComputer } from './mapped-layout.ts';
import { createWorkspace, type RoutingWorkspace, timePasses } from './pass.ts';
import { SentTokens } from './sent-tokens.ts';
import type { PlannedPlacement } from './slot-workspace.ts';

/** What is to be computed, and how. */
export interface LayoutJob {
  readonly routing: ChosenRouting;
  readonly numExperts: number;
  readonly groupOptions: ExpertGroupOptions;
  /** Where the experts are, if it is not the placement of the group. */
  readonly planned: PlannedPlacement | null;
  readonly invalidExperts: InvalidExperts;
  /** The id that stands for an empty slot, beside -1. */
  readonly emptyId: number | bigint | undefined;
  readonly mask: MaskForm;
  /** Looks at the ids, too, if statistics were asked for. */
  readonly statistics: ExpertStatistics | null;
  /** The file to write the layouts to. */
  readonly out: string | undefined;
  /** Keeps tokens for a page of pictures; null where nobody asks for one. */
  readonly collector: Collector | null;
}

/** The counts of one layer. */
export interface LayoutCounts {
  readonly numTokensPerRank: Float64Array;
  readonly numTokensPerRdmaRank: Float64Array | null;
  readonly numTokensPerExpert: Float64Array;
}

/** The layouts of all chosen layers. */
export interface RoutingLayout extends ComputedLayers {
  readonly numRanksPerNode: number;
  readonly layers: readonly LayoutCounts[];
  /** What was seen of the ids. */
  readonly observer: Observer;
  /** What ranks send to each other. */
  readonly sent: SentTokens;
}

/** Computes the layout of every layer of the routing. */
export async function computeRoutingLayout(job: LayoutJob): Promise<RoutingLayout> {
  const { routing, numExperts, groupOptions, planned, invalidExperts, emptyId, statistics, out, collector } = job;
  // Only a file has the mask, and writing it takes time
  const options = { invalidExperts, emptyId, mask: out === undefined ? ('none' as const) : job.mask };
  try {
    const group = new ExpertGroup(groupOptions);
    const { numRanks, numRanksPerNode, numRdmaRanks, device } = group;
    const { tokens: numTokens, topk: numTopk } = routing.routing;
    const computation = layoutComputations[options.mask];
    const shape: OutputShape = { numTokens, numTopk, numExperts, numRanks, numRdmaRanks, computation };
    const layers = routing.chosen.map(
      (): LayoutCounts => ({
        numTokensPerRank: new Float64Array(numRanks),
        numTokensPerRdmaRank: numRdmaRanks === 1 ? null : new Float64Array(numRdmaRanks),
        numTokensPerExpert: new Float64Array(numExperts),
      }),
    );
    const { idType } = routing.routing;
    const observer = new Observer(
      { idType, numTopk, numExperts, emptyId: options.emptyId },
      layers.map((layer) => layer.numTokensPerExpert),
    );
    const sent = new SentTokens(routing, group);
    const { workspace, compute } =
      planned === null
        ? createLayout(createWorkspace({ routing, group, numExperts, options, orders: {} }))
        : await createMappedLayout({ routing, numExperts, groupOptions, options, planned });
    const file = out === undefined ? null : createFile(out, routing, shape);
    try {
      const timing = await timePasses({
        routing,
        workspace,
        numExperts,
        compute,
        receive(layout, { layer, firstToken, numTokens: count, file: source }) {
          observer.observe(layer, workspace.topkIdx, count, layout.numTokensPerExpert);
          collector?.add({ layer, firstToken, numTokens: count, file: source }, workspace.topkIdx);
          statistics?.observe(layer, workspace.topkIdx, count);
          sent.add(layer, source, layout);
          const sums = layers[layer];
          addTo(sums.numTokensPerRank, layout.numTokensPerRank);
          addTo(sums.numTokensPerExpert, layout.numTokensPerExpert);
          const { numTokensPerRdmaRank, isTokenInRank } = layout;
          if (sums.numTokensPerRdmaRank !== null && numTokensPerRdmaRank !== null) {
            addTo(sums.numTokensPerRdmaRank, numTokensPerRdmaRank);
          }
          if (isTokenInRank !== null) {
            const rowBytes = computation.mask === 'bits' ? Math.ceil(numRanks / 8) : numRanks;
            file?.write('is_token_in_rank', (layer * numTokens + firstToken) * rowBytes, isTokenInRank);
          }
        },
      });
      if (file !== null) await finishFile(file, layers);
      return { ...shape, routing, device, numRanksPerNode, numLayers: layers.length, layers, timing, observer, sent };
    } finally {
      file?.discard();
    }
  } catch (error) {
    return failOnLibraryError(routing.name, numExperts, error);
  }
}

function createLayout(workspace: RoutingWorkspace): LayoutComputer {
  return { workspace, compute: (numTokens) => workspace.run(numTokens) };
}

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
 * The outputs in the order of the file, under DeepEP's names. Those that layouts within one node do not have come last. The
 * order must not change, so that the same input gives the same bytes in every version.
 */
const outputsInFile: readonly Output[] = [
  ...layoutForm.outputs.filter((output) => isInEveryFile(output)),
  ...layoutForm.outputs.filter((output) => !isInEveryFile(output)),
];

function createFile(path: string, routing: ChosenRouting, shape: OutputShape): NpzFile {
  const { computation } = shape;
  const isPacked = computation.kind === 'layout' && computation.mask === 'bits';
  return NpzFile.create(
    path,
    outputsInFile.flatMap((output) => {
      const dimensions = dimensionsOf(output, shape);
      if (dimensions === null) return [];
      // An output of type uint8 holds 0 and 1, as numpy's type bool does, unless it is packed.
      const dtype = output.type === 'int32' ? 'i4' : isPacked ? 'u1' : 'b1';
      return [{ name: nameInFiles(output.name), dtype, shape: shapeInFile(routing, dimensions) }];
    }),
  );
}

async function finishFile(file: NpzFile, layers: readonly LayoutCounts[]): Promise<void> {
  for (const [layer, counts] of layers.entries()) {
    for (const [name, sums] of Object.entries(counts) as [keyof LayoutCounts, Float64Array | null][]) {
      if (sums === null) continue;
      file.write(nameInFiles(name), layer * sums.length * 4, Int32Array.from(sums));
    }
  }
  file.finish();
}
