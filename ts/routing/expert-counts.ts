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

/** The counts of a file, and what to call it. */
interface NamedCounts {
  readonly name: string;
  readonly contents: CountContents;
}

/**
 * Adds up the counts of one file or more. A layer or an expert that a file does not have is not selected in it. Counts of
 * slots are added up to those of experts where the file says which expert is in each slot.
 *
 * @throws {@link RoutingError} `CHOICE` if some files have counts of slots, and others of experts
 */
export function sumOfFiles(given: readonly NamedCounts[]): ExpertCounts {
  const files = given.map((file) => (file.contents.expertOfSlot === undefined ? file : countsOfExperts(file)));
  const ofSlots = files.filter(({ contents }) => contents.numbering === 'physical');
  if (ofSlots.length > 0 && ofSlots.length < files.length) {
    const remedy = 'give files of one kind';
    refuse('CHOICE', 'has counts of slots, and other files have counts of experts', { file: ofSlots[0].name, remedy });
  }
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

/** The counts of experts instead of those of the slots that hold them. */
function countsOfExperts({ name, contents }: NamedCounts): NamedCounts {
  const { expertOfSlot = [], counts, layers } = contents;
  for (const [layer, experts] of expertOfSlot.entries()) {
    const slot = experts.findIndex((expert) => expert < 0 || expert >= experts.length);
    if (slot < 0) continue;
    const place = `layer ${layers[layer]}, slot ${slot}`;
    refuse('DAMAGED', `has expert ${experts[slot]}`, { file: name, place, remedy: 'let SGLang write it again' });
  }
  const numExperts = 1 + expertOfSlot.reduce((most, experts) => experts.reduce((a, b) => Math.max(a, b), most), -1);
  const sums = counts.map((ofSlots, layer) => {
    const ofExperts = new Float64Array(numExperts);
    for (const [slot, count] of ofSlots.entries()) ofExperts[expertOfSlot[layer][slot]] += count;
    return ofExperts;
  });
  const note = 'The counts of slots are those of the experts that were in them at the end of the recording.';
  const notes = [...contents.notes, note];
  return { name, contents: { ...contents, counts: sums, numExperts, numbering: 'logical', notes } };
}
