/**
 * Everything that the pictures show.
 *
 * @module
 */
import type { Capture } from '../../ts/capture/capture.ts';
import type { Settings } from '../../ts/capture/settings.ts';
import { choosePlan, planBefore } from './choose-plan.ts';
import { type JudgedPlacement, judgePlacement } from './judged-placement.ts';
import type { SweptRanks } from './sweep.ts';

/** What the pictures show. */
export interface View {
  readonly capture: Capture;
  readonly settings: Settings;
  /** The indices of the layers that are in the figures over all. */
  readonly counted: readonly number[];
  /** The placement that was chosen. */
  readonly chosen: JudgedPlacement;
  /** The linear placement, judged by the same tokens; null where this is the chosen one. */
  readonly before: JudgedPlacement | null;
  /** The numbers of ranks that have been computed so far. */
  readonly sweep: readonly SweptRanks[];
}

/**
 * Computes a view, without its sweep.
 *
 * @throws DispatchLayoutError or Error with a full sentence, where the settings do not fit the capture.
 */
export function computeView(capture: Capture, settings: Settings): View {
  const all = capture.counts.map((_, layer) => layer);
  const sparse = all.filter((layer) => !capture.dense.includes(layer));
  const counted = settings.keepDense || sparse.length === 0 ? all : sparse;
  const plan = choosePlan(capture, settings);
  const chosen = judgePlacement(capture, plan, settings, counted);
  const before =
    settings.placement === 'linear'
      ? null
      : judgePlacement(
          capture,
          planBefore(capture, settings, plan.judgedFrom),
          { ...settings, replicaRule: 'round_robin', sourceRank: null },
          counted,
        );
  return { capture, settings, counted, chosen, before, sweep: [] };
}

/** The number of a layer, or `alone` where the routing is a single matrix. */
export function layerName({ layers }: Capture, layer: number): string {
  return layers === null ? 'alone' : String(layers[layer]);
}

/** The layer that is shown alone, as the end of a clause; empty where the routing is a single matrix. */
export function inLayer({ capture, settings }: View): string {
  return capture.layers === null ? '' : ` in layer ${layerName(capture, settings.layer)}`;
}
