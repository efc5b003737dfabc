/**
 * CSV with a row for each choice of a token, or with counts by layer and expert.
 *
 * @module
 */
import type { ByteSource } from '../byte-source.ts';
import type { Contents, CountContents, FileFacts } from '../contents.ts';
import type { Format } from '../format.ts';
import { refuse } from '../routing-error.ts';
import { CsvReader } from './csv/csv-reader.ts';
import { contentsOfLongForm, LongForm } from './long-form.ts';
import { nothingKnown } from './npy.ts';
import { refuseChoice } from './refuse-choice.ts';
import { namingLines } from './text/text-fault.ts';

/** The format. */
export const csvFormat: Format = {
  name: 'csv',
  noun: 'CSV',
  recognises: (head) =>
    /^(\xef\xbb\xbf)?(#[\x20-\x7e\t]*\r?\n|["\w][\x20-\x7e\t]*,)/.test(latin1(head.subarray(0, 512))),
  async open(source, { array }) {
    if (array !== undefined) refuseChoice(source.name, array);
    return namingLines(source, () => openRows(source));
  },
};

/** The names under which files have what is read from them. */
const columns = {
  layer: ['layer', 'layer_id', 'layer_idx'],
  expert: ['expert', 'expert_id', 'expert_idx'],
  token: ['step', 'token', 'token_id', 'token_idx'],
  slot: ['slot', 'topk_idx', 'k'],
  // Steps are counted within a turn of a conversation
  turn: ['turn'],
  count: ['count'],
} as const;

async function openRows(source: ByteSource): Promise<Contents> {
  const reader = new CsvReader(source);
  const names = await reader.readHeader();
  const columnOf = (role: keyof typeof columns): string | undefined =>
    columns[role].find((name) => names.includes(name));
  const [layer, expert, token, count] = [columnOf('layer'), columnOf('expert'), columnOf('token'), columnOf('count')];
  if (layer === undefined || expert === undefined) {
    const shown = names.slice(0, 12).map((name) => name.slice(0, 40));
    if (names.length > shown.length) shown.push('…');
    refuse('NOT_ROUTING', `has no columns of a layer and an expert; its columns are ${shown.join(', ')}`, {
      file: source.name,
      remedy: 'write a row for each choice, with the columns layer, token and expert',
    });
  }
  const comment = reader.comments.join(' ');
  const facts: FileFacts = {
    format: 'csv',
    ...nothingKnown,
    producer: producerOf(comment, names),
    numExperts: numberIn(comment, 'n_expert'),
  };
  if (token === undefined || count !== undefined) {
    reader.choose([layer, expert, count]);
    return { ...facts, ...(await readCounts(reader, count !== undefined)) };
  }
  reader.choose([layer, expert, token, columnOf('slot'), columnOf('turn')]);
  const longForm = await readChoices(reader, columnOf('slot') !== undefined, numberIn(comment, 'n_expert_used'));
  if (longForm.isEmpty) reader.fail('NOT_ROUTING', 'has no rows');
  return { ...facts, ...contentsOfLongForm(longForm, source.name) };
}

function producerOf(comment: string, names: readonly string[]): string | null {
  if (comment.startsWith('# route_trace')) return 'BigMoeOnEdge';
  const header = names.join();
  return header === 'layer_id,expert_id,count' ? 'SGLang' : header === 'layer,expert' ? 'llama.cpp' : null;
}

/** A number in the comments before the header, such as `n_expert=128`. */
function numberIn(comment: string, name: string): number | null {
  const number = new RegExp(`\\b${name}=(\\d{1,7})\\b`).exec(comment)?.[1];
  return number === undefined ? null : Number(number);
}

async function readChoices(reader: CsvReader, hasSlots: boolean, numTopk: number | null): Promise<LongForm> {
  const longForm = new LongForm(numTopk ?? 1);
  let turn = 0;
  let firstStep = 0;
  for (let isFirst = true; reader.nextRowInWindow() || (await reader.nextRow()); isFirst = false) {
    const { values } = reader;
    if (isFirst || values[4] !== turn) {
      turn = values[4];
      longForm.endPart();
      // Steps can go on where the turn before ended
      if (!isFirst) firstStep = values[2];
    }
    const token = values[2] - firstStep;
    const problem = longForm.add({ layer: values[0], token, slot: hasSlots ? values[3] : null, expert: values[1] });
    if (problem !== null) reader.fail('DAMAGED', problem);
  }
  return longForm;
}

/** The most counts that are kept, and the largest layer number. */
const maxCounts = 2 ** 22;
const maxLayer = 4095;

/** Sums counts, or rows if there is no column of counts. */
async function readCounts(
  reader: CsvReader,
  hasCounts: boolean,
): Promise<Pick<CountContents, 'kind' | 'layers' | 'counts'>> {
  const counts = new Map<number, Float64Array>();
  let numExperts = 0;
  while (reader.nextRowInWindow() || (await reader.nextRow())) {
    const [layer, expert, count] = reader.values;
    if (!(layer >= 0 && layer <= maxLayer)) reader.fail('DAMAGED', `has the layer ${layer}`);
    if (!(expert >= 0)) reader.fail('DAMAGED', `has the expert ${expert}`);
    if (hasCounts && count < 0) reader.fail('DAMAGED', `has the count ${count}`);
    numExperts = Math.max(numExperts, expert + 1);
    let sums = counts.get(layer);
    if (sums === undefined || expert >= sums.length) {
      if (2 * numExperts * (counts.size + 1) > maxCounts) reader.fail('TOO_LARGE', `has the expert ${expert}`);
      const longer = new Float64Array(2 * numExperts);
      longer.set(sums ?? []);
      counts.set(layer, longer);
      sums = longer;
    }
    sums[expert] += hasCounts ? count : 1;
  }
  if (counts.size === 0) reader.fail('NOT_ROUTING', 'has no rows');
  const layers = [...counts.keys()].sort((left, right) => left - right);
  const dense = layers.map((layer) => {
    const sums = new Float64Array(numExperts);
    sums.set(counts.get(layer)?.subarray(0, numExperts) ?? []);
    return sums;
  });
  return { kind: 'counts', layers, counts: dense };
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
