/**
 * The labelled lines at the head of a report for people.
 *
 * @module
 */
import type { ComputedLayers } from '../compute/compute-layers.ts';
import type { Timing } from '../compute/timing.ts';
import { abbreviated, duration, grouped } from './numbers.ts';
import type { Result } from './result.ts';
import { wrap } from './wrap.ts';

/** A labelled line, continued on the lines below where the text is too long for one. */
export function fact(label: string, text: string): string[] {
  return wrap(label.padEnd(10), text.split(' '));
}

/** The lines of what was computed from. */
export function factsOfRouting({ routing, numLayers }: ComputedLayers<unknown>): string[] {
  const matrix = `${grouped(routing.numTokens)} tokens, top-${routing.numTopk}`;
  const shape =
    routing.layers === null
      ? `[${matrix}]`
      : numLayers === routing.numLayersInFile
        ? `[${numLayers} layers, ${matrix}]`
        : `[${matrix}], layer ${routing.layers[0]} of ${routing.numLayersInFile}`;
  return [...fact('file', routing.name), ...fact('topk_idx', `${routing.dtype} ${shape}`)];
}

/**
 * The lines of how it was computed, and a note if the file looks as if its dimensions were taken for each other.
 *
 * @param noun what is computed for a layer, such as `the layout`.
 */
export function factsOfComputing(
  { computed, deviceReason }: Result<ComputedLayers<unknown>, unknown>,
  noun: string,
): string[] {
  const { routing, device, timing, numTokens, numLayers } = computed;
  const lines = [
    ...fact('device', `${device}: ${deviceReason}`),
    ...fact('compute', describeSpeed(numTokens * numLayers, timing)),
    ...fact('', describeTiming(timing, numLayers > 1 ? `${numLayers} layers` : noun)),
  ];
  if ((routing.numLayersInFile ?? 0) <= numTokens) return lines;
  const remedy = routing.tokensFirst
    ? 'if FILE is [layers, tokens, topk], leave out --axes tokens,layers,topk'
    : 'if FILE is [tokens, layers, topk], pass --axes tokens,layers,topk';
  return [...lines, ...fact('note', `more layers than tokens; ${remedy}`)];
}

/** The number of all slots, in all layers. */
export function numSlots({ numTokens, numTopk, numLayers }: ComputedLayers<unknown>): number {
  return numTokens * numTopk * numLayers;
}

function describeSpeed(numTokens: number, { seconds }: Timing): string {
  const speed = numTokens === 0 || seconds === 0 ? '' : `, ${abbreviated(numTokens / seconds)} tokens/s`;
  return `${duration(seconds)} for ${grouped(numTokens)} tokens${speed}`;
}

function describeTiming({ numPasses, warm }: Timing, what: string): string {
  const how = warm ? `median of ${numPasses} warm passes over` : 'one cold pass over';
  return `${how} ${what}, without reading the file`;
}
