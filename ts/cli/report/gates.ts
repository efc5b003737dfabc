/**
 * Whether limits are kept, for reports.
 *
 * @module
 */
import type { GateResult } from '../gate.ts';
import type { Heading } from './sections.ts';
import { wrap } from './wrap.ts';

/** The most layers that are named for people. */
const maxLayers = 16;

/** The section of the report for people; nothing where no limit was given. */
export function gatesSection(results: readonly GateResult[], heading: Heading): string[] {
  if (results.length === 0) return [];
  const numExceeded = results.filter(({ isExceeded }) => isExceeded).length;
  const note = numExceeded === 0 ? 'kept' : `${numExceeded} of ${results.length} exceeded`;
  return ['', heading('Limits', note), ...results.flatMap(gateLines)];
}

function gateLines({ gate, value, isExceeded, layers }: GateResult): string[] {
  const head = `  ${gate.text}  `;
  if (value === null) return [`${head}nothing to count`];
  if (!isExceeded) return [`${head}is ${value.toFixed(3)}`];
  const rest = layers.length - maxLayers;
  const names = layers
    .slice(0, maxLayers)
    .map(({ layer, value: ofLayer }) => `${layer === null ? 'the layer' : `layer ${layer}`} (${ofLayer.toFixed(3)})`);
  const listed = [...names, ...(rest > 0 ? [`${rest} more`] : [])];
  const words = listed.map((name, index) => (index === listed.length - 1 ? name : `${name},`));
  return wrap(head, [`EXCEEDED, ${value.toFixed(3)}:`, ...words]);
}

/** The field of the report for programs; none where no limit was given. */
export function jsonOfGates(results: readonly GateResult[]): object {
  if (results.length === 0) return {};
  return {
    limits: results.map(({ gate, value, isExceeded, layers }) => ({ limit: gate.text, value, isExceeded, layers })),
  };
}
