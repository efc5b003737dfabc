/**
 * DeepEP's own counts of tokens, which SGLang's recorder keeps of the last forward pass, against those of the ids.
 *
 * @module
 */
import { idTypes } from '../../../values/id-types.ts';
import { type ArrayPart, gridOfArrays } from '../../array-grid.ts';
import { itemsOf, type PythonValue, valueAt } from './python-values.ts';

/** What DeepEP counted in one layer. */
interface LayerCounts {
  readonly layer: number;
  readonly numTokensPerRank: readonly number[];
  readonly numTokensPerExpert: readonly number[];
}

/** How many ids are read at a time, if the ids of a token are not more. */
const pieceIds = 2 ** 16;

/**
 * Compares the counts with those of the ids.
 *
 * @param record the dict of the last pass.
 * @param part its ids.
 * @returns a sentence that says how they compare; none if DeepEP was not used.
 */
export async function notesOfDeepEp(record: PythonValue, part: ArrayPart): Promise<string[]> {
  const grid = gridOfArrays([part]);
  const recorded = (itemsOf(valueAt(record, 'misc_objects')) ?? []).flatMap((entry) => readCounts(entry, grid.layers));
  if (recorded.length === 0) return [];
  for (const expected of recorded) {
    const { layer, numTokensPerRank, numTokensPerExpert } = expected;
    const counted = {
      rank: new Array<number>(numTokensPerRank.length).fill(0),
      expert: new Array<number>(numTokensPerExpert.length).fill(0),
    };
    const expertsPerRank = numTokensPerExpert.length / numTokensPerRank.length;
    const into = new idTypes[grid.idType].array(Math.max(grid.numTopk, pieceIds));
    for await (const { numTokens, ids } of grid.pieces([grid.layers.indexOf(layer)], into)) {
      for (let token = 0; token < numTokens; token++) {
        const row = Array.from(ids.subarray(token * grid.numTopk, (token + 1) * grid.numTopk), Number);
        const experts = new Set(row.filter((id) => id >= 0 && id < numTokensPerExpert.length));
        for (const expert of experts) counted.expert[expert]++;
        for (const rank of new Set([...experts].map((expert) => Math.floor(expert / expertsPerRank))))
          counted.rank[rank]++;
      }
    }
    for (const [kind, theirs] of [
      ['rank', numTokensPerRank],
      ['expert', numTokensPerExpert],
    ] as const) {
      const odd = theirs.findIndex((count, index) => count !== counted[kind][index]);
      if (odd < 0) continue;
      const difference = `${theirs[odd]} tokens for ${kind} ${odd} of layer ${layer}, and the ids have ${counted[kind][odd]}`;
      return [`DeepEP's own counts of the last pass (misc_objects) differ from those of its ids: ${difference}.`];
    }
  }
  const layers = recorded.length === 1 ? 'the one layer that has them' : `all ${recorded.length} layers that have them`;
  return [`DeepEP's own counts of the last pass (misc_objects) agree with its ids in ${layers}.`];
}

function readCounts(entry: PythonValue, layers: readonly number[]): LayerCounts[] {
  const layer = valueAt(entry, 'layer_id');
  const numTokensPerRank = integers(valueAt(entry, 'num_tokens_per_rank'));
  const numTokensPerExpert = integers(valueAt(entry, 'num_tokens_per_expert'));
  if (
    typeof layer !== 'number' ||
    !layers.includes(layer) ||
    numTokensPerRank === null ||
    numTokensPerExpert === null
  ) {
    return [];
  }
  // Experts are spread evenly, by blocks.
  return numTokensPerExpert.length % numTokensPerRank.length === 0
    ? [{ layer, numTokensPerRank, numTokensPerExpert }]
    : [];
}

/** The integers of a list; `null` if it is none, or empty. */
function integers(value: PythonValue | undefined): number[] | null {
  const items = itemsOf(value);
  return items !== undefined && items.length > 0 && items.every(Number.isSafeInteger) ? (items as number[]) : null;
}
