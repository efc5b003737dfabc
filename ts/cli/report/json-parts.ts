/**
 * The parts of a JSON report that those of all commands have.
 *
 * @module
 */
import type { ComputedLayers } from '../compute/computed-layers.ts';
import { inFlags } from '../fail.ts';
import type { ChosenCounts, ChosenRouting } from '../read/routing.ts';
import type { Result } from './result.ts';

/** What was read. */
export function jsonOfFile({ routing, name, numLayersInFile }: ChosenRouting): object {
  const { idType, tokens, topk, format, producer, axes, axesBecause } = routing;
  return {
    file: name,
    format,
    producer,
    idType,
    dtype: idType,
    axes,
    axesBecause: inFlags(axesBecause),
    numLayersInFile,
    tokens,
    topk,
    numTokens: tokens,
    numTopk: topk,
  };
}

/** The same of counts, which have no tokens and so no ids. */
export function jsonOfCounts({ counts, name, numLayersInFile }: ChosenCounts): object {
  const { format, producer } = counts;
  return {
    file: name,
    format,
    producer,
    idType: null,
    dtype: null,
    axes: null,
    axesBecause: null,
    numLayersInFile,
    tokens: null,
    topk: null,
    numTokens: null,
    numTopk: null,
  };
}

/**
 * How it was computed, and the statistics.
 *
 * @param plain the fields of some statistics.
 */
export function jsonOfResult<Statistics>(
  { computed, invalidExperts, deviceReason, total, perLayer }: Result<ComputedLayers, Statistics>,
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
