/**
 * The dumps of SGLang's recorder of expert distributions (`srt/eplb/expert_distribution.py`). In the mode `per_token`
 * they have the ids of every token of every forward pass, in the mode `per_pass` counts of every pass, and in the mode
 * `stat` counts of every step.
 *
 * @module
 */
import { idTypes } from '../../../values/id-types.ts';
import { type ArrayPart, gridOfArrays } from '../../array-grid.ts';
import type { CountContents, IdContents, StoredArray } from '../../contents.ts';
import { refuse } from '../../routing-error.ts';
import { sumOfCounts } from '../counts.ts';
import { nothingKnown } from '../npy.ts';
import { describedTensor, isOfIntegers, type Tensor } from '../tensors.ts';
import { notesOfDeepEp } from './deepep-counts.ts';
import { itemsOf, PythonDict, PythonTensor, type PythonValue, valueAt } from './python-values.ts';
import type { TorchFile } from './torch-file.ts';

/** The dicts of all passes, or undefined if a file is no dump of passes. */
function recordsIn(root: PythonValue): readonly PythonValue[] | undefined {
  const records = itemsOf(valueAt(root, 'records'));
  const isRecord = (value: PythonValue): boolean =>
    value instanceof PythonDict &&
    (value.entries.has('topk_ids_of_layer') || value.entries.has('global_physical_count'));
  const isDump =
    records !== undefined && (records.length > 0 || valueAt(root, 'last_physical_to_logical_map') !== undefined);
  return isDump && records.every(isRecord) ? records : undefined;
}

/**
 * What a dump holds; undefined if the file is none.
 *
 * @throws {@link RoutingError} if its passes do not fit together
 */
export async function contentsOfRecorder(
  torchFile: TorchFile,
  file: string,
): Promise<IdContents | CountContents | undefined> {
  const { root } = torchFile;
  const records = recordsIn(root);
  if (records !== undefined) return contentsOfPasses(records, torchFile, file);
  const counts = valueAt(root, 'logical_count');
  if (!(counts instanceof PythonTensor)) return undefined;
  const tensor = await torchFile.open(counts, 'logical_count');
  const { shape } = tensor;
  if (!isOfIntegers(tensor) || shape.length < 2 || shape.length > 3)
    unexpected(tensor, '[steps, layers, experts]', file);
  const axes = ['layers', 'topk'] as const;
  const part: ArrayPart = { array: tensor, axes: shape.length === 3 ? ['tokens', ...axes] : axes };
  return {
    kind: 'counts',
    ...(await sumOfCounts([part], file)),
    ...nothingKnown,
    format: 'pt',
    producer: valueAt(root, 'average_utilization_rate_over_window') === undefined ? 'SGLang' : 'SGLang recorder',
    numbering: 'logical',
    numExperts: shape[shape.length - 1],
  };
}

async function contentsOfPasses(
  records: readonly PythonValue[],
  torchFile: TorchFile,
  file: string,
): Promise<IdContents | CountContents> {
  if (records.length === 0) {
    const remedy = 'send requests between /start_expert_distribution_record and /dump_expert_distribution_record';
    refuse('NOT_ROUTING', "is a dump of SGLang's recorder without a forward pass", { file, remedy });
  }
  const hasIds = records.every((record) => valueAt(record, 'topk_ids_of_layer') !== undefined);
  const key = hasIds ? 'topk_ids_of_layer' : 'global_physical_count';
  const dimensions = hasIds ? ['layers', 'tokens', 'topk'] : ['layers', 'physical experts'];
  const tensors = await Promise.all(
    records.map(async (record, index): Promise<StoredArray> => {
      const path = `records[${index}].${key}`;
      const value = valueAt(record, key);
      if (value instanceof PythonTensor) {
        const tensor = await torchFile.open(value, path);
        if (isOfIntegers(tensor) && tensor.shape.length === dimensions.length) return tensor;
        unexpected(tensor, `[${dimensions.join(', ')}]`, file);
      }
      return refuse('DAMAGED', 'is missing', { file, place: path, remedy: dumpAgain });
    }),
  );
  const [first] = tensors;
  const odd = tensors.find(({ shape }) => shape[0] !== first.shape[0] || shape.at(-1) !== first.shape.at(-1));
  if (odd !== undefined) {
    const problem = `is ${describedTensor(odd)}, and ${first.name} is ${describedTensor(first)}`;
    refuse('DAMAGED', problem, { file, place: odd.name, remedy: dumpAgain });
  }
  const ranks = [...new Set(records.map((record) => valueAt(record, 'rank')))];
  const map = valueAt(torchFile.root, mapName);
  const facts = {
    ...nothingKnown,
    format: 'pt' as const,
    producer: 'SGLang recorder',
    numbering: 'physical' as const,
    rank: ranks.length === 1 && typeof ranks[0] === 'number' ? ranks[0] : null,
    numExperts: map instanceof PythonTensor ? (map.shape.at(-1) ?? null) : null,
  };
  const passes = records.length === 1 ? 'one forward pass' : `${records.length} forward passes`;
  if (!hasIds) {
    const parts = tensors.map((tensor): ArrayPart => ({ array: tensor, axes: ['layers', 'topk'] }));
    const sums = await sumOfCounts(parts, file);
    const notes = [`The counts are those of ${passes}.`];
    const contents = { kind: 'counts', ...sums, ...facts, numExperts: first.shape[1], notes } as const;
    return map instanceof PythonTensor
      ? { ...contents, expertOfSlot: await expertsOf(await torchFile.open(map, mapName), first, file) }
      : contents;
  }
  const parts = tensors.map((tensor): ArrayPart => ({ array: tensor, axes: ['layers', 'tokens', 'topk'] }));
  const notes = [
    `The tokens are those of ${passes}.`,
    ...(ranks.length > 1 ? [`They come from ${ranks.length} ranks.`] : []),
    ...(await notesOfDeepEp(records[records.length - 1], parts[parts.length - 1])),
  ];
  return {
    kind: 'ids',
    grid: gridOfArrays(parts),
    axes: 'layers,tokens,topk',
    axesBecause: "SGLang's recorder writes layers first",
    ...facts,
    notes,
  };
}

/** The map from slots to experts at the end of the recording. */
const mapName = 'last_physical_to_logical_map';

/** The expert in each slot of each layer. */
async function expertsOf(map: Tensor, { shape }: Tensor, file: string): Promise<readonly Int32Array[]> {
  if (!isOfIntegers(map) || map.shape.length !== 2 || map.shape.some((length, axis) => length !== shape[axis])) {
    unexpected(map, `[${shape.join(', ')}]`, file);
  }
  const grid = gridOfArrays([{ array: map, axes: ['layers', 'topk'] }]);
  const rows = grid.layers.map(() => new Int32Array(grid.numTopk));
  const into = new idTypes[grid.idType].array(grid.numTopk);
  const all = rows.map((_, layer) => layer);
  for await (const { layer, ids } of grid.pieces(all, into)) {
    for (let slot = 0; slot < grid.numTopk; slot++) rows[layer][slot] = Number(ids[slot]);
  }
  return rows;
}

const dumpAgain = 'copy the file again, or let SGLang write it again';

function unexpected(tensor: Tensor, expected: string, file: string): never {
  const problem = `is ${describedTensor(tensor)}, not integers of ${expected}`;
  refuse('DAMAGED', problem, { file, place: tensor.name, remedy: dumpAgain });
}
