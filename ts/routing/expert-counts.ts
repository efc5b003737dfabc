/**
 * Counts of experts in opened files, for those who need no tokens, such as the planning of a placement.
 *
 * @module
 */
import type { ArrayContents, Axis, CountContents, FormatName, StoredArray } from './contents.ts';
import { maxCounts, sumOfCounts } from './formats/counts.ts';
import { placeOf } from './gather.ts';
import { printable, refuse } from './routing-error.ts';

/** How often experts were selected, where files have this and no tokens. */
export interface ExpertCounts {
  /** Counts have no ids. {@link Routing} has them. */
  readonly kind: 'counts';
  /** The names of the files. */
  readonly files: readonly string[];
  /** The container format of the first of them. */
  readonly format: FormatName;
  /** Who wrote it, such as `SGLang recorder`; `null` where nothing tells. */
  readonly producer: string | null;
  /** The numbers of the layers. Where the file does not name them, they count from 0. */
  readonly layers: readonly number[];
  /** The number of experts, or of slots: as many as the files have counts of, or say that there are. */
  readonly numExperts: number;
  /**
   * `[layers]` of `[numExperts]`: how often each expert was selected, over all steps, passes and files. `rebalance` of
   * `dispatch-layout/placement` takes them as its loads.
   */
  readonly counts: readonly Float64Array[];
  /**
   * Whether they are counts of experts, or of the slots into which experts and their replicas are loaded; `null` if
   * unknown.
   */
  readonly numbering: 'logical' | 'physical' | null;
  /** The rank whose tokens were counted; `null` where the file does not say, and for several files. */
  readonly rank: number | null;
  /** What a reader should know of how the files were read. */
  readonly notes: readonly string[];
}

/** Whether the option `axes` says that an array holds counts of experts: it names an axis of experts. */
export function axesAreOfCounts(axes: string | undefined): axes is string {
  return axes !== undefined && parts(axes).includes('experts');
}

function parts(axes: string): string[] {
  return axes.split(',').map((axis) => axis.trim());
}

/**
 * The counts in an array of which the caller says so by its axes, such as `layers,experts` or `steps,layers,experts`.
 *
 * @throws {@link RoutingError} `CHOICE` if the axes do not fit the array, and as {@link sumOfCounts}
 */
export async function countsInArray(
  array: StoredArray,
  contents: ArrayContents,
  chosen: string,
): Promise<CountContents> {
  const { shape, source } = array;
  const axes = parts(chosen);
  const count = (wanted: string): number => axes.filter((axis) => axis === wanted).length;
  const isKnown = axes.every((axis) => axis === 'steps' || axis === 'layers' || axis === 'experts');
  if (!isKnown || count('experts') !== 1 || count('layers') > 1 || axes.length !== shape.length) {
    const problem = `is [${shape.join(', ')}], and cannot be read with axes: '${chosen}'`;
    const remedy =
      "use experts once, layers at most once and steps for every other dimension, as axes: 'layers,experts'";
    refuse('CHOICE', problem, { file: source.name, place: placeOf(array), remedy });
  }
  const meanings: Readonly<Record<string, Axis>> = { steps: 'tokens', layers: 'layers', experts: 'topk' };
  const part = { array, axes: axes.map((axis) => meanings[axis]) };
  return { ...contents, kind: 'counts', ...(await sumOfCounts([part], source.name)) };
}

/** Adds up the counts of one file or more. A layer or an expert that a file does not have is not selected in it. */
export function sumOfFiles(
  files: readonly { readonly name: string; readonly contents: CountContents }[],
): ExpertCounts {
  const [{ contents: first }] = files;
  const common = <Value>(factOf: (contents: CountContents) => Value): Value | null => {
    return files.every(({ contents }) => factOf(contents) === factOf(first)) ? factOf(first) : null;
  };
  const layers = [...new Set(files.flatMap(({ contents }) => contents.layers))].sort((left, right) => left - right);
  const numExperts = files.reduce(
    (most, { contents }) => Math.max(most, contents.numExperts ?? 0, contents.counts[0]?.length ?? 0),
    0,
  );
  if (layers.length * numExperts > maxCounts) {
    const problem = `has counts of ${layers.length} layers and ${numExperts} experts, together with other files`;
    refuse('TOO_LARGE', problem, { file: files[0].name, remedy: 'give files of one model' });
  }
  const counts = layers.map(() => new Float64Array(numExperts));
  for (const { contents } of files) {
    for (const [index, ofLayer] of contents.counts.entries()) {
      const sums = counts[layers.indexOf(contents.layers[index])];
      for (let expert = 0; expert < ofLayer.length; expert++) sums[expert] += ofLayer[expert];
    }
  }
  return {
    kind: 'counts',
    files: files.map(({ name }) => name),
    format: first.format,
    producer: common(({ producer }) => (producer === null ? null : printable(producer))),
    layers,
    numExperts,
    counts,
    numbering: common(({ numbering }) => numbering),
    rank: common(({ rank }) => rank),
    notes: files.flatMap(({ name, contents }) =>
      contents.notes.map((note) => printable(files.length === 1 ? note : `${name}: ${note}`)),
    ),
  };
}
