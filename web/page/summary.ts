/**
 * What was read, what is odd in it, and the figures in one glance.
 *
 * @module
 */
import { type Capture, hasTokens } from '../../ts/capture/capture.ts';
import type { View } from '../compute/view.ts';
import { grouped, ratio } from '../pictures/numbers.ts';
import { make } from './elements.ts';
import { inWords } from './words.ts';

/** A plan can have a finding for every slot. */
const mostPlanFindings = 4;

type Fact = readonly [string, string];

function list(facts: readonly Fact[]): HTMLElement {
  return make('dl', {}, ...facts.map(([term, text]) => make('div', {}, make('dt', {}, term), make('dd', {}, text))));
}

/** What was read, and how. */
export function factsOf(capture: Capture): HTMLElement {
  const { name, format, producer, layers, numLayers, numTokens, numTopk, numExperts, idType, axes, axesBecause } =
    capture;
  const kept =
    capture.keepEvery === 1
      ? []
      : [
          ` The page keeps ${grouped(capture.numKept)} tokens of each layer, in blocks that are spread evenly: figures of ranks are of these. Counts of experts are of all tokens.`,
        ];
  return make(
    'div',
    {},
    make('h2', {}, name),
    list([
      ['format', producer === null ? format : `${format}, ${producer}`],
      ['layers', layers === null ? 'a single matrix' : grouped(numLayers)],
      ...(hasTokens(capture)
        ? [['tokens', grouped(numTokens)] as const, ['experts of a token', grouped(numTopk)] as const]
        : [['tokens', numTopk === 0 ? 'none, only counts' : 'none'] as const]),
      ['experts', grouped(numExperts)],
      ['type', idType],
    ]),
    make('p', { class: 'quiet' }, `The axes are ${axes}: ${axesBecause}.`, ...kept),
  );
}

/** What is wrong or odd, or null where nothing is. */
export function findingsIn({ findings }: Capture): HTMLElement | null {
  if (findings.length === 0) return null;
  return make(
    'div',
    {},
    make('h2', {}, `${findings.length} finding${findings.length === 1 ? '' : 's'}`),
    make(
      'ul',
      {},
      ...findings.map(({ code, what, effect, remedy }) =>
        make(
          'li',
          {},
          make('span', { class: 'code' }, code),
          ` ${what}${effect === null ? '' : `; ${effect}`}.`,
          ...(remedy === null ? [] : [make('span', { class: 'quiet' }, ` Remedy: ${inWords(remedy)}.`)]),
        ),
      ),
    ),
  );
}

/** The figures of a view in one glance. */
export function summaryOf({ capture, counted, chosen, before, settings }: View): HTMLElement {
  // Placements by a name leave slots empty where experts do not divide evenly, which nobody can change
  const isPlan = settings.placement === 'eplb' || settings.placement === 'file';
  const unsaid = chosen.findings.length - mostPlanFindings;
  const spread = chosen.overLayers?.['max/mean'];
  const earlier = before?.overLayers?.['max/mean'];
  const windows = chosen.overWindows?.['max/mean'];
  const compared = (now: number | undefined, then: number | undefined): string =>
    then === undefined ? ratio(now) : `${ratio(now)} (linear ${ratio(then)})`;
  const numTokens = counted.length * (capture.keepEvery === 1 ? capture.numTokens : capture.numKept);
  const perToken = (name: 'tokensPerRank' | 'tokensPerNode'): string => {
    const sum = counted.reduce(
      (all, layer) => all + chosen.layers[layer][name].reduce((one, count) => one + count, 0),
      0,
    );
    return numTokens === 0 ? 'none' : (sum / numTokens).toFixed(3);
  };
  const ofTokens: readonly Fact[] = [
    [
      `max/mean, worst window of ${grouped(settings.window)}`,
      compared(windows?.worst, before?.overWindows?.['max/mean'].worst),
    ],
    ['ranks per token', perToken('tokensPerRank')],
    ['nodes per token', chosen.numNodes === 1 ? 'one node' : perToken('tokensPerNode')],
  ];
  return make(
    'div',
    {},
    list([
      ['max/mean, median of layers', compared(spread?.p50, earlier?.p50)],
      ['max/mean, 95 % of layers below', compared(spread?.p95, earlier?.p95)],
      ['max/mean, worst layer', compared(spread?.worst, earlier?.worst)],
      ...(hasTokens(capture) ? ofTokens : []),
      ...(capture.dense.length === 0 || counted.length === capture.numLayers
        ? []
        : [['dense layers left out', String(capture.dense.length)] as const]),
    ]),
    ...(!isPlan || chosen.findings.length === 0
      ? []
      : [
          make(
            'p',
            { class: 'quiet' },
            `Of the plan: ${chosen.findings
              .slice(0, mostPlanFindings)
              .map(({ message }) => message.replace(/\.$/, ''))
              .join('; ')}${unsaid > 0 ? `; and ${grouped(unsaid)} more` : ''}.`,
          ),
        ]),
  );
}
