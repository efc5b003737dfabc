/**
 * The labelled lines at the head of a report for people.
 *
 * @module
 */
import type { ComputedLayers } from '../compute/computed-layers.ts';
import type { Timing } from '../compute/pass.ts';
import { inFlags } from '../fail.ts';
import type { ChosenCounts, ChosenRouting } from '../read/routing.ts';
import { abbreviated, counted, duration } from './numbers.ts';
import type { Result } from './result.ts';
import { wrap } from './wrap.ts';

/** A labelled line, continued on the lines below where the text is too long for one. */
export function fact(label: string, text: string): string[] {
  return wrap(label.padEnd(10), text.split(' '));
}

/**
 * The lines of what was read.
 *
 * @param numLayers the number of layers that were read.
 */
export function factsOfFile({ routing, name, layers, numLayersInFile }: ChosenRouting, numLayers: number): string[] {
  const { idType, axes, axesBecause, format, producer, tokens, topk } = routing;
  const matrix = `${counted(tokens, 'token')}, top-${topk}`;
  const shape =
    layers === null
      ? `[${matrix}]`
      : numLayers === numLayersInFile
        ? `[${counted(numLayers, 'layer')}, ${matrix}]`
        : numLayers === 1
          ? `[${matrix}], layer ${layers[0]} of ${numLayersInFile}`
          : `[${numLayers} of ${numLayersInFile} layers, ${matrix}]`;
  return [
    ...fact('file', name),
    ...(producer === null ? [] : fact('format', `${format}, of ${producer}`)),
    ...fact('topk_idx', `${idType} ${shape}`),
    ...(layers === null ? [] : fact('axes', `${axes}: ${inFlags(axesBecause)}`)),
  ];
}

/** The lines of counts that were read. */
export function factsOfCounts({ counts, name, chosen, layers, numLayersInFile }: ChosenCounts): string[] {
  const { format, producer, numExperts, notes } = counts;
  const experts = counted(numExperts, 'expert');
  const shape =
    chosen.length === numLayersInFile
      ? `[${counted(chosen.length, 'layer')}, ${experts}]`
      : `[${experts}], layer ${layers[0]} of ${numLayersInFile}`;
  return [
    ...fact('file', name),
    ...(producer === null ? [] : fact('format', `${format}, of ${producer}`)),
    ...fact('counts', `${shape}, without tokens${notes.length === 0 ? '' : `: ${inFlags(notes.join(' '))}`}`),
  ];
}

/** The line of dense layers that are left out; none where there are none. */
export function factsOfDense(numDense: number): string[] {
  if (numDense === 0) return [];
  const hold = numDense === 1 ? 'holds one expert only; it is' : 'hold one expert only; they are';
  return fact('dense', `${counted(numDense, 'layer')} ${hold} in no figure`);
}

/**
 * The lines of how it was computed.
 *
 * @param noun what is computed for a layer, such as `the layout`.
 */
export function factsOfComputing({ computed, deviceReason }: Result<ComputedLayers, unknown>, noun: string): string[] {
  const { device, timing, numTokens, numLayers } = computed;
  return [
    ...fact('device', `${device}: ${deviceReason}`),
    ...fact('compute', describeSpeed(numTokens * numLayers, timing)),
    ...fact('', describeTiming(timing, numLayers > 1 ? `${numLayers} layers` : noun)),
  ];
}

/** The number of all slots, in all layers. */
export function numSlots({ numTokens, numTopk, numLayers }: ComputedLayers): number {
  return numTokens * numTopk * numLayers;
}

function describeSpeed(numTokens: number, { seconds }: Timing): string {
  const speed = numTokens === 0 || seconds === 0 ? '' : `, ${abbreviated(numTokens / seconds)} tokens/s`;
  return `${duration(seconds)} for ${counted(numTokens, 'token')}${speed}`;
}

function describeTiming({ numPasses, warm }: Timing, what: string): string {
  const how = warm ? `median of ${numPasses} warm passes over` : 'one cold pass over';
  return `${how} ${what}, without reading the file`;
}
