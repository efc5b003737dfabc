/**
 * The statistics of experts that TensorRT-LLM writes for its load balancer: in a file for each rank, a tensor for each
 * iteration and layer, named `{iteration}_{layer}`. It has the ids of all tokens, `[tokens, topk]`, in the files
 * `rank{r}_raw.safetensors`, or the counts of all experts, `[experts]`, in the files `rank{r}.safetensors`.
 *
 * @module
 */
import { type ArrayPart, gridOfArrays } from '../../array-grid.ts';
import type { CountContents, FormatName, IdContents, StoredArray } from '../../contents.ts';
import { refuse } from '../../routing-error.ts';
import { sumOfCounts } from '../counts.ts';
import { describedTensor, isOfIntegers, type Tensor } from '../tensors.ts';

/** The statistics of one rank. */
export interface RankStatistics {
  readonly file: string;
  /** `null` if the name of the file does not say it. */
  readonly rank: number | null;
  readonly tensors: readonly StoredArray[];
}

/** What `meta_info.json` says. */
export interface MetaInfo {
  readonly numExperts: number;
  readonly numTopk: number;
}

const keyPattern = /^(\d{1,15})_(\d{1,15})$/;

/** Whether the tensors of a file are statistics of experts. */
export function isStatistics(tensors: readonly Tensor[]): tensors is readonly StoredArray[] {
  const isOne = (tensor: Tensor): tensor is StoredArray =>
    keyPattern.test(tensor.name) && isOfIntegers(tensor) && (tensor.shape.length === 1 || tensor.shape.length === 2);
  return tensors.length > 0 && tensors.every(isOne);
}

/** The rank in the name of a file such as `rank3_raw.safetensors`. */
export function rankInName(file: string): number | null {
  const digits = /(?:^|[/\\])rank(\d{1,9})(?:_raw)?\.safetensors$/.exec(file)?.[1];
  return digits === undefined ? null : Number(digits);
}

/** One tensor, with what its name says. */
interface Cell {
  readonly iteration: number;
  readonly layer: number;
  readonly tensor: StoredArray;
}

/**
 * What the statistics of one or more ranks hold. Tokens are in the order of ranks and, within a rank, of iterations.
 *
 * @param ranks the files, in the order of their ranks; {@link isStatistics} holds for the tensors of each.
 * @param meta `null` if there is no `meta_info.json`.
 * @throws {@link RoutingError} `DAMAGED` if a tensor is missing, or they do not fit together
 */
export async function contentsOfStatistics(
  ranks: readonly RankStatistics[],
  meta: MetaInfo | null,
  format: FormatName,
): Promise<IdContents | CountContents> {
  const [first] = ranks;
  const numAxes = first.tensors[0].shape.length;
  const parts = ranks.flatMap((statistics) => {
    checkColumns(statistics, numAxes, meta);
    const cells = cellsOf(statistics);
    checkGrid(cells, statistics.file);
    return cells.map(
      ({ layer, tensor }): ArrayPart => ({
        array: tensor,
        axes: numAxes === 2 ? ['tokens', 'topk'] : ['topk'],
        layers: [layer],
      }),
    );
  });
  const facts = {
    format,
    producer: 'TensorRT-LLM',
    numbering: 'logical' as const,
    rank: ranks.length === 1 ? first.rank : null,
    numExperts: numAxes === 1 ? first.tensors[0].shape[0] : (meta?.numExperts ?? null),
    notes: ranks.length === 1 ? [] : [`The ${numAxes === 2 ? 'tokens' : 'counts'} are those of ${ranks.length} ranks.`],
  };
  if (numAxes === 1) return { kind: 'counts', ...(await sumOfCounts(parts, first.file)), ...facts };
  const axesBecause = 'TensorRT-LLM writes a tensor of [tokens, topk] for each iteration and layer';
  return { kind: 'ids', grid: gridOfArrays(parts), axes: 'layers,tokens,topk', axesBecause, ...facts };
}

const complete = 'use the files of one whole run with EXPERT_STATISTIC_ITER_RANGE';

/** Checks that all tensors have as many columns, one for each slot or expert. */
function checkColumns({ file, tensors }: RankStatistics, numAxes: number, meta: MetaInfo | null): void {
  const known = numAxes === 2 ? meta?.numTopk : meta?.numExperts;
  const numColumns = known ?? tensors[0].shape[numAxes - 1];
  const wrong = tensors.find(({ shape }) => shape.length !== numAxes || shape[numAxes - 1] !== numColumns);
  if (wrong === undefined) return;
  const expected = numAxes === 2 ? `[tokens, ${numColumns}]` : `[${numColumns}]`;
  const source = known === undefined ? 'the first tensor' : 'meta_info.json';
  const problem = `is ${describedTensor(wrong)}, not integers of ${expected} as ${source} says`;
  refuse('DAMAGED', problem, { file, place: `tensor '${wrong.name}'`, remedy: complete });
}

/** The tensors in the order of iterations and layers. */
function cellsOf({ tensors }: RankStatistics): Cell[] {
  return tensors
    .map((tensor) => {
      const [, iteration, layer] = keyPattern.exec(tensor.name) ?? [];
      return { iteration: Number(iteration), layer: Number(layer), tensor };
    })
    .sort((a, b) => a.iteration - b.iteration || a.layer - b.layer);
}

/**
 * Checks that there is a tensor for each layer in each iteration, none is left out, and all layers of an iteration have
 * the same tokens. TensorRT-LLM's own reader requires the same, but for the tokens.
 */
function checkGrid(cells: readonly Cell[], file: string): void {
  const layers = [...new Set(cells.map(({ layer }) => layer))].sort((a, b) => a - b);
  cells.forEach(({ iteration, layer, tensor }, index) => {
    const row = Math.floor(index / layers.length);
    const due = { iteration: cells[0].iteration + row, layer: layers[index % layers.length] };
    if (iteration !== due.iteration || layer !== due.layer) {
      const problem = `lacks tensor '${due.iteration}_${due.layer}': iterations and layers must be complete`;
      refuse('DAMAGED', problem, { file, remedy: complete });
    }
    const first = cells[row * layers.length].tensor;
    if (tensor.shape.length === 2 && tensor.shape[0] !== first.shape[0]) {
      const problem = `has ${tensor.shape[0]} tokens, and '${first.name}' of the same iteration has ${first.shape[0]}`;
      refuse('DAMAGED', problem, { file, place: `tensor '${tensor.name}'`, remedy: complete });
    }
  });
  if (cells.length % layers.length !== 0) {
    const { iteration } = cells[cells.length - 1];
    const due = layers[cells.length % layers.length];
    const problem = `lacks tensor '${iteration}_${due}': iterations and layers must be complete`;
    refuse('DAMAGED', problem, { file, remedy: complete });
  }
}
