/**
 * Decides what the dimensions of an array stand for, where its format does not say it.
 *
 * Nothing in an array of three dimensions says whether layers or tokens come first, and a wrong reading gives plausible
 * figures. Two facts tell them apart. A model has at most a few hundred layers. And its layers choose experts with
 * different frequencies, while the tokens of a text, each over all layers, do so far less.
 *
 * @module
 */
import type { IntegerArray } from '../values/id-types.ts';
import { idTypes } from '../values/id-types.ts';
import { sizeOf } from '../values/shape.ts';
import type { Axis, StoredArray } from './contents.ts';
import { Gatherer, placeOf } from './gather.ts';
import { refuse } from './routing-error.ts';

/** The axes of an array, and why they are these. */
export interface DecidedAxes {
  readonly axes: readonly Axis[];
  /** The rest of a sentence. */
  readonly because: string;
}

/** The name under which vLLM, SGLang, slime, xtuner and others hand on captures, which all have tokens first. */
const tokensFirstName = /(^|[./_])routed_experts$/;
/** More layers than any model has. */
const maxLayers = 256;
/** How many indices of each dimension are looked at. */
const maxSampled = 64;
/** By how much the layers must differ more than the tokens: in standard deviations, and as a ratio. */
const minDeviations = 6;
const minRatio = 1.25;

/** The axes as they are written in options and reports: `layers,tokens,topk`. */
export function formatAxes(axes: readonly Axis[]): string {
  return axes.join(',');
}

/**
 * Decides the axes of an array of two to four dimensions.
 *
 * @param chosen the option `axes` of the caller.
 * @throws {@link RoutingError} `AMBIGUOUS` if nothing tells which dimension is that of the layers, `CHOICE` if the option
 *   does not fit the array.
 */
export async function decideAxes(array: StoredArray, chosen: string | undefined): Promise<DecidedAxes> {
  if (chosen !== undefined) return { axes: parseAxes(array, chosen), because: `axes: '${chosen}' says so` };
  const { shape } = array;
  if (shape.length === 2) return { axes: ['tokens', 'topk'], because: 'it has two dimensions' };
  if (tokensFirstName.test(array.name)) {
    const axes = axesWith(shape.length - 2, shape.length);
    return { axes, because: `arrays named ${array.name} have tokens first` };
  }
  // Leading dimensions of length 1 are batches of one.
  const numLeading = shape.findIndex((length) => length !== 1);
  const leading = Math.min(numLeading < 0 ? shape.length : numLeading, shape.length - 2);
  if (shape.length - leading === 2) {
    return { axes: [...tokens(shape.length - 1), 'topk'], because: 'its leading dimensions are of length 1' };
  }
  const candidates = Array.from({ length: shape.length - 1 - leading }, (_, index) => leading + index);
  const readings = candidates.map((layerAxis) => axesWith(layerAxis, shape.length));
  const short = candidates.filter((axis) => shape[axis] > 0 && shape[axis] <= maxLayers);
  const loads = sizeOf(shape) === 0 ? null : await axisOfDifferentLoads(array, candidates);
  if (loads !== null && short.includes(loads.axis)) {
    const what = `experts are chosen ${loads.ratio.toFixed(1)} times as unevenly along it as along the others`;
    return {
      axes: axesWith(loads.axis, shape.length),
      because: `${ordinal(loads.axis)} dimension is that of the layers: ${what}`,
    };
  }
  if (loads === null && short.length === 1) {
    const [axis] = short;
    const others = candidates.filter((other) => other !== axis).map((other) => shape[other]);
    const because = `${ordinal(axis)} dimension is that of the layers: no model has ${others.join(' or ')} of them`;
    return { axes: axesWith(axis, shape.length), because };
  }
  const options = readings.map((axes) => `axes: '${formatAxes(axes)}' (${describeReading(axes, shape)})`);
  const shown = `[${shape.join(', ')}]`;
  return refuse('AMBIGUOUS', `is ${shown}, and nothing in it says which dimension is that of the layers`, {
    file: array.source.name,
    place: placeOf(array),
    remedy: `say it with ${options.join(' or ')}`,
  });
}

/** What an array would be if its axes were these: `6 layers of 64 tokens`. */
export function describeReading(axes: readonly Axis[], shape: readonly number[]): string {
  const lengthOf = (wanted: Axis): number => sizeOf(shape.filter((_, index) => axes[index] === wanted));
  return `${lengthOf('layers')} layers of ${lengthOf('tokens')} tokens`;
}

function parseAxes(array: StoredArray, chosen: string): Axis[] {
  const { shape, source } = array;
  const axes = chosen.split(',').map((axis) => axis.trim());
  const isKnown = axes.every((axis) => axis === 'layers' || axis === 'tokens' || axis === 'topk');
  const count = (wanted: Axis): number => axes.filter((axis) => axis === wanted).length;
  const details = { file: source.name, place: placeOf(array) };
  if (!isKnown || count('topk') !== 1 || count('layers') > 1) {
    const remedy =
      "use layers at most once, topk once and tokens for every other dimension, as axes: 'layers,tokens,topk'";
    refuse('CHOICE', `cannot be read with axes: '${chosen}'`, { ...details, remedy });
  }
  if (axes.length !== shape.length) {
    const remedy = `name ${shape.length} dimensions, or leave out axes: '${chosen}'`;
    refuse('CHOICE', `is [${shape.join(', ')}], but axes: '${chosen}' has ${axes.length} dimensions`, {
      ...details,
      remedy,
    });
  }
  return axes as Axis[];
}

function tokens(count: number): Axis[] {
  return new Array<Axis>(count).fill('tokens');
}

function axesWith(layerAxis: number, numAxes: number): Axis[] {
  return Array.from({ length: numAxes }, (_, axis) => {
    return axis === layerAxis ? 'layers' : axis === numAxes - 1 ? 'topk' : 'tokens';
  });
}

function ordinal(axis: number): string {
  return `the ${['first', 'second', 'third'][axis]}`;
}

/**
 * The axis along which experts are chosen with different frequencies, if there is one along which they are so far more
 * than along every other.
 */
async function axisOfDifferentLoads(
  array: StoredArray,
  candidates: readonly number[],
): Promise<{ axis: number; ratio: number } | null> {
  const { shape } = array;
  const counts = shape.map((length, axis) => (axis === shape.length - 1 ? length : Math.min(length, maxSampled)));
  const sample: IntegerArray = new idTypes[array.type].array(sizeOf(counts));
  let size = 1;
  const dimensions = counts
    .map((length, axis) => ({ length, axis }))
    .reverse()
    .map(({ length, axis }) => {
      const step = Math.floor(shape[axis] / length);
      const dimension = { length, from: step * array.strides[axis], into: size };
      size *= length;
      return dimension;
    })
    .reverse();
  await new Gatherer(array).gather(0, dimensions, sample, 0);
  const ids = Array.from(sample as ArrayLike<number | bigint>, Number);
  const unevenness = candidates.map((axis) => unevennessAlong(ids, counts, axis));
  const order = unevenness
    .map((_, index) => index)
    .sort((left, right) => unevenness[right].value - unevenness[left].value);
  const [most, next] = order.map((index) => unevenness[index]);
  const noise = Math.hypot(most.deviation, next.deviation);
  const isClear = most.value - next.value > minDeviations * noise && most.value > minRatio * next.value;
  return isClear ? { axis: candidates[order[0]], ratio: most.value / next.value } : null;
}

/**
 * How much the frequencies of ids differ between the indices of an axis: for each index chi-square per degree of freedom,
 * which is about 1 if there is no difference, and of these the median, because a few rows of padding must not count.
 */
export function unevennessAlong(
  ids: readonly number[],
  shape: readonly number[],
  axis: number,
): { value: number; deviation: number } {
  const inner = sizeOf(shape.slice(axis + 1));
  const length = shape[axis];
  const columns = new Map<number, number>();
  for (const id of ids) if (id >= 0 && !columns.has(id)) columns.set(id, columns.size);
  const numColumns = columns.size;
  const table = new Float64Array(length * numColumns);
  const ofRow = new Float64Array(length);
  const ofColumn = new Float64Array(numColumns);
  let all = 0;
  ids.forEach((id, index) => {
    if (id < 0) return;
    const row = Math.floor(index / inner) % length;
    const column = columns.get(id) as number;
    table[row * numColumns + column]++;
    ofRow[row]++;
    ofColumn[column]++;
    all++;
  });
  const freedom = numColumns - 1;
  if (freedom < 1 || length < 2) return { value: 1, deviation: 0 };
  const values: number[] = [];
  for (let row = 0; row < length; row++) {
    if (ofRow[row] === 0 || ofRow[row] === all) continue;
    let chiSquare = 0;
    for (let column = 0; column < numColumns; column++) {
      const expected = (ofRow[row] * ofColumn[column]) / all;
      chiSquare += (table[row * numColumns + column] - expected) ** 2 / expected;
    }
    // A row is a part of what it is compared with.
    values.push(chiSquare / freedom / (1 - ofRow[row] / all));
  }
  values.sort((left, right) => left - right);
  return { value: values[values.length >> 1] ?? 0, deviation: Math.sqrt(2 / freedom / Math.max(1, values.length)) };
}
