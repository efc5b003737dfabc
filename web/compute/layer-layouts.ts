/**
 * Computes the layouts of kept tokens, piece by piece, by the kernel of the library.
 *
 * @module
 */
import { type Capture, emptyIn } from '../../ts/capture/capture.ts';
import type { Settings } from '../../ts/capture/settings.ts';
import { ExpertGroup, type Workspace } from '../../ts/index.ts';
import { mapToPhysical } from '../../ts/placement/index.ts';
import type { ChosenPlan } from './choose-plan.ts';

/** The layout of one piece. The next one overwrites it. */
export type PieceLayout = ReturnType<Workspace<'int32', 'bits'>['run']>;

/** The most tokens of a piece, which is in the cache then. */
const maxPieceTokens = 4096;

/** Computes layouts of pieces under one plan. */
export class LayerLayouts {
  readonly numRanks: number;
  readonly numNodes: number;
  readonly numRanksPerNode: number;
  readonly #capture: Capture;
  readonly #chosen: ChosenPlan;
  readonly #settings: Pick<Settings, 'replicaRule' | 'sourceRank' | 'numRanksPerNode'>;
  readonly #workspace: Workspace<'int32', 'bits'>;

  constructor(
    capture: Capture,
    chosen: ChosenPlan,
    settings: Pick<Settings, 'replicaRule' | 'sourceRank' | 'numRanksPerNode'>,
    mask: 'bits' | 'none',
  ) {
    const { numRanks, numPhysicalExperts } = chosen.plan;
    const group = new ExpertGroup({ numRanks, numRanksPerNode: settings.numRanksPerNode });
    this.numRanks = numRanks;
    this.numRanksPerNode = group.numRanksPerNode;
    this.numNodes = group.numRdmaRanks;
    this.#capture = capture;
    this.#chosen = chosen;
    this.#settings = settings;
    this.#workspace = group.createWorkspace({
      numExperts: numPhysicalExperts,
      maxTokens: Math.max(1, Math.min(maxPieceTokens, capture.numKept)),
      numTopk: capture.numTopk,
      idType: 'int32',
      mask: mask as 'bits',
    });
  }

  /**
   * Computes tokens of a layer, from one up to another, in pieces that end at every multiple of a number of tokens,
   * counted from the first one.
   *
   * @param receive gets the layout of each piece, and whether its last token ends such a multiple.
   */
  run(
    layer: number,
    from: number,
    to: number,
    multiple: number,
    receive: (layout: PieceLayout, firstToken: number, numTokens: number, isEnd: boolean) => void,
  ): void {
    const { ids, numTopk } = this.#capture;
    const { plan, planLayers } = this.#chosen;
    const { replicaRule, sourceRank, numRanksPerNode } = this.#settings;
    const ofLayer = ids[layer];
    const options = {
      emptyId: emptyIn(ofLayer),
      out: this.#workspace.topkIdx,
      ...(replicaRule === 'nearest' && { sourceRank: sourceRank ?? undefined, numRanksPerNode }),
    };
    for (let token = from; token < to; ) {
      const endOfMultiple = token - ((token - from) % multiple) + multiple;
      const next = Math.min(to, endOfMultiple, token + this.#workspace.maxTokens);
      const data = ofLayer.subarray(token * numTopk, next * numTopk);
      const shape = [next - token, numTopk];
      mapToPhysical({ data, shape }, plan, planLayers[layer], replicaRule, { ...options, firstToken: token });
      receive(this.#workspace.run(next - token), token, next - token, next === endOfMultiple);
      token = next;
    }
  }
}
