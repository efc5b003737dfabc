/**
 * The parts of a JSON report that those of all commands have.
 *
 * @module
 */
import type { ComputedLayers } from '../compute/compute-layers.ts';
import type { Result } from './result.ts';

/** What was computed from. */
export function jsonOfRouting({ routing, numExperts }: ComputedLayers<unknown>): object {
  return {
    file: routing.name,
    dtype: routing.dtype,
    numLayersInFile: routing.numLayersInFile,
    numTokens: routing.numTokens,
    numTopk: routing.numTopk,
    numExperts,
  };
}

/**
 * How it was computed, and the statistics.
 *
 * @param plain the fields of some statistics.
 */
export function jsonOfResult<Statistics>(
  { computed, invalidExperts, deviceReason, total, perLayer }: Result<ComputedLayers<unknown>, Statistics>,
  plain: (statistics: Statistics) => object,
): object {
  const { routing, device, timing } = computed;
  const numTokens = computed.numTokens * computed.numLayers;
  return {
    invalidExperts,
    device: { name: device, reason: deviceReason },
    timing: {
      seconds: timing.seconds,
      tokensPerSecond: timing.seconds === 0 ? null : numTokens / timing.seconds,
      numPasses: timing.numPasses,
      warm: timing.warm,
    },
    total: plain(total),
    layers: perLayer.map((layer, index) => ({ layer: routing.layers?.[index] ?? null, ...plain(layer) })),
  };
}
