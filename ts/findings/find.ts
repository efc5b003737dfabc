/**
 * Makes findings of what was observed.
 *
 * @module
 */

import { unevennessAlong } from '../routing/axes.ts';
import type { Routing } from '../routing/index.ts';
import { counted, grouped } from '../values/grouped.ts';
import type { Finding } from './finding.ts';
import type { LayerObservation, Observer } from './observer.ts';
import { sampledTokens } from './observer.ts';

/** What findings are made of. */
export interface Observed {
  readonly routing: Routing;
  /** The numbers of the layers that were observed, or `null` where the routing is a single matrix. */
  readonly layers: readonly number[] | null;
  readonly observer: Observer;
  readonly numExperts: number;
  /** The indices, among the observed layers, of those that have the same ids as an earlier one. */
  readonly equalLayers: readonly number[];
}

/** How many identical rows at the start are no accident. */
const minWarmUp = 64;
/** How often each expert should have been chosen before it is odd that one never was. */
const minMeanCount = 20;

/**
 * Whether a layer holds nothing but one expert, or nothing at all. With one slot for each token this can happen by
 * accident, if there are few tokens.
 */
export function isDense(
  { counts, numTokens, numInvalid }: Pick<LayerObservation, 'counts' | 'numTokens' | 'numInvalid'>,
  numTopk: number,
): boolean {
  if (numTokens === 0 || numTopk === 0 || numInvalid > 0) return false;
  return counts.filter((count) => count > 0).length <= 1 && (numTopk > 1 || numTokens >= 16);
}

/** The indices of the layers that {@link isDense} says are dense. */
export function denseIn(layers: readonly LayerObservation[], numTopk: number): readonly number[] {
  return layers.flatMap((layer, index) => (isDense(layer, numTopk) ? [index] : []));
}

/** All findings, those that change figures first. */
export function findAll(observed: Observed): Finding[] {
  const { routing, observer, numExperts } = observed;
  const { topk } = routing;
  const indices = observer.layers.map((_, index) => index);
  const dense = denseIn(observer.layers, topk);
  const captured = indices.filter((index) => !dense.includes(index));
  const findings = [
    ...findDense(observed, dense),
    ...findAxes(observed),
    ...findCounts(observed, captured),
    ...findSentinels(observed),
    ...findOutOfRange(observed),
    ...findPhysical(observed),
    ...findTwice(observed, captured),
    ...findPadding(observed, captured),
    ...findWarmUp(observed, captured),
    ...findRagged(observed),
    ...findEqual(observed, dense),
    ...findExtremes(observed, captured, numExperts),
    ...findNotes(routing.notes),
  ];
  return [...findings.filter(({ effect }) => effect !== null), ...findings.filter(({ effect }) => effect === null)];
}

/** What the format says of how files were read. */
export function findNotes(notes: readonly string[]): Finding[] {
  return notes.map((note) => ({
    code: 'NOTE',
    what: note.replace(/\.$/, ''),
    layers: null,
    count: 1,
    effect: null,
    remedy: null,
  }));
}

function numbersOf({ layers }: Observed, indices: readonly number[]): readonly number[] | null {
  return layers === null ? null : indices.map((index) => layers[index]);
}

/** Layers in words: `layers 0 to 2 and 7`. Empty where the routing is a single matrix. */
function inWords(observed: Observed, indices: readonly number[]): string {
  const numbers = numbersOf(observed, indices);
  if (numbers === null || numbers.length === observed.observer.layers.length) return '';
  const runs: [number, number][] = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  const shown = runs.slice(0, 8).map(([from, to]) => (from === to ? `${from}` : `${from} to ${to}`));
  const rest = runs.length > 8 ? ' and others' : '';
  return `layer${numbers.length === 1 ? '' : 's'} ${shown.join(', ')}${rest}`;
}

function sumOf(observed: Observed, indices: readonly number[], countOf: (layer: LayerObservation) => number): number {
  return indices.reduce((sum, index) => sum + countOf(observed.observer.layers[index]), 0);
}

/** Says so where not all tokens of a large file were looked at. */
function atLeast({ observer }: Observed): string {
  return observer.layers.some(({ numLookedAt, numTokens }) => numLookedAt < numTokens) ? 'at least ' : '';
}

function behind(where: string): string {
  return where === '' ? '' : ` (${where})`;
}

function findDense(observed: Observed, dense: readonly number[]): Finding[] {
  const byExpert = new Map<number, number[]>();
  for (const index of dense) {
    const expert = observed.observer.layers[index].counts.findIndex((count) => count > 0);
    byExpert.set(expert, [...(byExpert.get(expert) ?? []), index]);
  }
  return [...byExpert].map(([expert, indices]): Finding => {
    const held = expert < 0 ? 'no expert' : `nothing but expert ${expert}`;
    const [subject, verb] =
      observed.layers === null
        ? ['the file', 'holds']
        : [counted(indices.length, 'layer'), indices.length === 1 ? 'holds' : 'hold'];
    const isAll = dense.length === observed.observer.layers.length;
    return {
      code: 'DENSE_LAYERS',
      what: `${subject} ${verb} ${held}${behind(inWords(observed, indices))}: dense, or not captured`,
      layers: numbersOf(observed, indices),
      count: indices.length,
      effect: isAll
        ? 'all figures are of this'
        : 'a report leaves them out, since their load would stand for a hot expert that there is not',
      remedy: isAll ? 'capture the layers that have experts' : 'pass --keep-dense to count them',
    };
  });
}

/** Compares the loads of layers with those of tokens, as is done where no format says the axes. */
function findAxes(observed: Observed): Finding[] {
  const { routing, observer, layers } = observed;
  const { topk } = routing;
  if (layers === null || layers.length < 2 || topk === 0) return [];
  const numTokens = Math.min(sampledTokens, ...observer.samples.map((sample) => sample.length / topk));
  if (numTokens < 2) return [];
  const numLayers = Math.min(layers.length, sampledTokens);
  const ids = Array.from({ length: numLayers }, (_, place) =>
    observer.samples[Math.floor((place * layers.length) / numLayers)].slice(0, numTokens * topk),
  ).flat();
  const shape = [numLayers, numTokens, topk];
  const alongLayers = unevennessAlong(ids, shape, 0);
  const alongTokens = unevennessAlong(ids, shape, 1);
  const noise = Math.hypot(alongLayers.deviation, alongTokens.deviation);
  if (alongTokens.value - alongLayers.value < 6 * noise || alongTokens.value < 1.25 * alongLayers.value) return [];
  const times = (alongTokens.value / alongLayers.value).toFixed(1);
  return [
    {
      code: 'AXES',
      what: `the axes ${routing.axes} look swapped: experts are chosen ${times} times as unevenly along the tokens as along the layers`,
      layers: null,
      count: layers.length,
      effect: 'the figures of layers are mixtures of all layers',
      remedy: 'check --axes',
    },
  ];
}

function findCounts(observed: Observed, captured: readonly number[]): Finding[] {
  const numTokens = sumOf(observed, captured, (layer) => layer.numLookedAt);
  const numTwice = sumOf(observed, captured, (layer) => layer.numTwice);
  if (numTwice * 2 < numTokens || numTwice < 2 || observed.routing.topk < 3) return [];
  return [
    {
      code: 'COUNTS',
      what: `these look like counts and not like ids: ${((100 * numTwice) / numTokens).toFixed(0)} % of the rows have a number twice, and a token selects different experts`,
      layers: null,
      count: numTwice,
      effect: 'no figure means anything',
      remedy: 'record the ids that each token selects',
    },
  ];
}

function findSentinels(observed: Observed): Finding[] {
  const { routing, observer, numExperts } = observed;
  const all = observer.layers.map((_, index) => index);
  const wrapped = all.filter((index) => observer.layers[index].numWrapped > 0);
  const findings: Finding[] = [];
  if (wrapped.length > 0) {
    const id = routing.idType === 'uint8' ? 255 : routing.idType === 'uint16' ? 65_535 : 2 ** 32 - 1;
    const count = sumOf(observed, wrapped, (layer) => layer.numWrapped);
    findings.push({
      code: 'SENTINEL',
      what: `${id} stands in several slots of ${counted(count, 'token')}${behind(inWords(observed, wrapped))}: it is -1 written as ${routing.idType}`,
      layers: numbersOf(observed, wrapped),
      count,
      effect: `these slots count as selections of expert ${id}`,
      remedy: `pass --empty-id ${id}`,
    });
  }
  for (const [id, { count, indices }] of invalidIds(observed)) {
    if (!isSentinel(id, numExperts, routing.idType)) continue;
    findings.push({
      code: 'SENTINEL',
      what: `${counted(count, 'slot')} hold${count === 1 ? 's' : ''} ${id}${behind(inWords(observed, indices))}, which seems to stand for an empty slot`,
      layers: numbersOf(observed, indices),
      count,
      effect: 'a layout refuses it, or skips it with --invalid-experts ignore',
      remedy: `pass --empty-id ${id}`,
    });
  }
  return findings;
}

/** Whether an id that is no expert is one of those by which producers mark empty slots. */
function isSentinel(id: bigint, numExperts: number, idType: string): boolean {
  const bits = BigInt(idType.replace(/\D/g, ''));
  const most = idType.startsWith('u') ? (1n << bits) - 1n : (1n << (bits - 1n)) - 1n;
  return id === BigInt(numExperts) || id === most || id === 0xffff_ffffn || id === 0x7fff_ffffn;
}

function invalidIds({ observer }: Observed): Map<bigint, { count: number; indices: number[] }> {
  const ids = new Map<bigint, { count: number; indices: number[] }>();
  observer.layers.forEach(({ invalid }, index) => {
    for (const [id, count] of invalid) {
      const before = ids.get(id) ?? { count: 0, indices: [] };
      ids.set(id, { count: before.count + count, indices: [...before.indices, index] });
    }
  });
  return ids;
}

function findOutOfRange(observed: Observed): Finding[] {
  const { observer, numExperts, routing } = observed;
  const indices = observer.layers.flatMap(({ numInvalid }, index) => (numInvalid > 0 ? [index] : []));
  const known = invalidIds(observed);
  const others = [...known.keys()].filter((id) => !isSentinel(id, numExperts, routing.idType));
  let count = sumOf(observed, indices, (layer) => layer.numInvalid);
  for (const [id, { count: ofId }] of known) if (!others.includes(id)) count -= ofId;
  if (count <= 0) return [];
  others.sort((left, right) => (left < right ? -1 : 1));
  const shown = others.length === 1 ? `${others[0]}` : `${others[0]} to ${others[others.length - 1]}`;
  const mayBePhysical = others.every((id) => id >= 0n && id < BigInt(2 * numExperts));
  return [
    {
      code: 'OUT_OF_RANGE',
      what: `${counted(count, 'slot')} hold${count === 1 ? 's' : ''} ${shown}, neither an expert in [0, ${numExperts}) nor -1${behind(inWords(observed, indices))}`,
      layers: numbersOf(observed, indices),
      count,
      effect: 'a layout refuses them, or skips them with --invalid-experts ignore',
      remedy: mayBePhysical
        ? 'correct --num-experts, or map the ids if they name the places of replicated experts'
        : 'correct --num-experts, or pass --invalid-experts ignore',
    },
  ];
}

function findPhysical({ routing }: Observed): Finding[] {
  if (routing.numbering !== 'physical') return [];
  return [
    {
      code: 'PHYSICAL_IDS',
      what: 'the ids are physical: they name the places of experts and of their replicas',
      layers: null,
      count: routing.layers.length,
      effect: 'the load of an expert is split over its replicas, and --num-experts must be the number of places',
      remedy: 'map them to experts by the map of the recorder, last_physical_to_logical_map',
    },
  ];
}

function findTwice(observed: Observed, captured: readonly number[]): Finding[] {
  const indices = captured.filter((index) => observed.observer.layers[index].numTwice > 0);
  if (indices.length === 0 || findCounts(observed, captured).length > 0) return [];
  const count = sumOf(observed, indices, (layer) => layer.numTwice);
  return [
    {
      code: 'EXPERT_TWICE',
      what: `${atLeast(observed)}${counted(count, 'token')} select${count === 1 ? 's' : ''} an expert twice${behind(inWords(observed, indices))}`,
      layers: numbersOf(observed, indices),
      count,
      effect: 'such an expert counts twice for its token, and the token goes to fewer ranks',
      remedy: 'check what wrote the file: a router selects different experts',
    },
  ];
}

function findPadding(observed: Observed, captured: readonly number[]): Finding[] {
  const { layers } = observed.observer;
  const findings: Finding[] = [];
  const ofOne = captured.filter((index) => layers[index].numOfOne > 0);
  if (ofOne.length > 0) {
    const count = sumOf(observed, ofOne, (layer) => layer.numOfOne);
    findings.push({
      code: 'PADDING',
      what: `${atLeast(observed)}${counted(count, 'row')} hold${count === 1 ? 's' : ''} the same expert in every slot${behind(inWords(observed, ofOne))}, as padding does`,
      layers: numbersOf(observed, ofOne),
      count,
      effect: 'they count as selections of this expert',
      remedy: 'write -1 into rows without a token',
    });
  }
  // The rows that a layer does not have in the file are no padding.
  const { tokens, tokensOfLayer, layers: numbers } = observed.routing;
  const numMissing = (index: number): number => {
    const inFile = observed.layers === null ? index : numbers.indexOf(observed.layers[index]);
    return tokensOfLayer === null ? 0 : tokens - tokensOfLayer[inFile];
  };
  const empty = captured.filter((index) => layers[index].numEmpty > numMissing(index));
  if (empty.length > 0) {
    const count = empty.reduce((sum, index) => sum + layers[index].numEmpty - numMissing(index), 0);
    findings.push({
      code: 'PADDING',
      what: `${counted(count, 'row')} hold${count === 1 ? 's' : ''} no expert at all${behind(inWords(observed, empty))}`,
      layers: numbersOf(observed, empty),
      count,
      effect: 'they count as tokens that go nowhere, which lowers the fan-out',
      remedy: 'leave rows without a token out of the file',
    });
  }
  return findings;
}

function findWarmUp(observed: Observed, captured: readonly number[]): Finding[] {
  const { layers } = observed.observer;
  const indices = captured.filter((index) => layers[index].numLikeFirst >= minWarmUp && layers[index].numEmpty === 0);
  if (indices.length === 0) return [];
  const most = indices.reduce((longest, index) => Math.max(longest, layers[index].numLikeFirst), 0);
  return [
    {
      code: 'WARM_UP',
      what: `the first rows are identical, up to ${grouped(most)} of them${behind(inWords(observed, indices))}, as from warming up`,
      layers: numbersOf(observed, indices),
      count: most,
      effect: 'their experts look hotter than they are',
      remedy: `cut off the first ${most} tokens before`,
    },
  ];
}

function findRagged(observed: Observed): Finding[] {
  const { tokensOfLayer, tokens, layers } = observed.routing;
  if (tokensOfLayer === null) return [];
  const short = tokensOfLayer.flatMap((count, index) => (count < tokens ? [layers[index]] : []));
  const missing = tokensOfLayer.reduce((sum, count) => sum + tokens - count, 0);
  return [
    {
      code: 'RAGGED_LAYERS',
      what: `${counted(short.length, 'layer')} ${short.length === 1 ? 'has' : 'have'} fewer tokens than others: ${counted(missing, 'row')} are missing`,
      layers: short,
      count: missing,
      effect: 'the missing rows are read as -1',
      remedy: 'nothing, if the producer leaves them out, as llama.cpp does in the last layer of a prefill',
    },
  ];
}

function findEqual(observed: Observed, dense: readonly number[]): Finding[] {
  const indices = observed.equalLayers.filter((index) => !dense.includes(index));
  if (indices.length === 0) return [];
  return [
    {
      code: 'EQUAL_LAYERS',
      what: `${counted(indices.length, 'layer')} ${indices.length === 1 ? 'has' : 'have'} the same ids as another one${behind(inWords(observed, indices))}`,
      layers: numbersOf(observed, indices),
      count: indices.length,
      effect: null,
      remedy: 'check the capture: layers choose differently',
    },
  ];
}

function findExtremes(observed: Observed, captured: readonly number[], numExperts: number): Finding[] {
  const sums = new Float64Array(numExperts);
  const always: { index: number; expert: number }[] = [];
  for (const index of captured) {
    const { counts, numTokens } = observed.observer.layers[index];
    counts.forEach((count, expert) => {
      sums[expert] += count;
      if (count === numTokens && numTokens >= minMeanCount && observed.routing.topk < numExperts)
        always.push({ index, expert });
    });
  }
  const findings: Finding[] = [];
  const total = sums.reduce((sum, count) => sum + count, 0);
  const never = total >= minMeanCount * numExperts ? sums.filter((count) => count === 0).length : 0;
  if (never > 0) {
    findings.push({
      code: 'NEVER_CHOSEN',
      what: `${counted(never, 'expert')} of ${numExperts} ${never === 1 ? 'is' : 'are'} never chosen`,
      layers: null,
      count: never,
      effect: null,
      remedy: 'correct --num-experts, if it is too large',
    });
  }
  if (always.length > 0) {
    const indices = [...new Set(always.map(({ index }) => index))];
    const experts = [...new Set(always.map(({ expert }) => expert))];
    findings.push({
      code: 'ALWAYS_CHOSEN',
      what: `every token selects expert ${experts.slice(0, 8).join(', ')}${behind(inWords(observed, indices))}`,
      layers: numbersOf(observed, indices),
      count: experts.length,
      effect: null,
      remedy: 'leave out shared experts, which are not routed',
    });
  }
  return findings;
}
