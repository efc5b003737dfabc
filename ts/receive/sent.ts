/**
 * Reads what all ranks of a group send, and takes from it what one rank receives.
 *
 * @module
 */
import { checkAttached } from '../errors/checks.ts';
import { DispatchLayoutError } from '../errors/errors.ts';
import { expertsByRank, type Partition } from '../input/partition.ts';
import { EventOverlap } from '../layout/event-overlap.ts';
import { isGpuTensor } from '../layout/tensors.ts';
import { describe } from '../values/describe.ts';
import { typedArrayName } from '../values/typed-array.ts';
import { type Arrivals, collectArrivals } from './receive-layout.ts';

/** The counts of what one rank sends, such as its layout. */
export interface SentCounts {
  /** `[numRanks]`: the tokens that it sends to each rank. */
  readonly numTokensPerRank: ArrayLike<number>;
  /** `[numExperts]`: its selections of each expert. */
  readonly numTokensPerExpert: ArrayLike<number>;
  /** The event of the layout, if the counts may still be computed. */
  readonly event?: EventOverlap | undefined;
}

/** The counts of what all ranks send, as an exchange gathers them. */
export interface GatheredCounts {
  /** `[numRanks, numRanks]`, row-major: the tokens that each source rank sends to each rank. */
  readonly numTokensPerRank: ArrayLike<number>;
  /** `[numRanks, numExperts]`, row-major: the selections of each expert by each source rank. */
  readonly numTokensPerExpert: ArrayLike<number>;
}

/** What all ranks of a group send: the layout of each, or all of their counts in two arrays. */
export type Sent = readonly SentCounts[] | GatheredCounts;

/**
 * Takes from what all ranks send what one of them receives. Only these numbers are read and checked.
 *
 * @throws DispatchLayoutError `SENT`, `DETACHED_BUFFER`, `OUT_OF_MEMORY`
 */
export function arrivalsAt(rank: number, sent: Sent, partition: Partition, alignment: number): Arrivals {
  const { numRanks, numExperts } = partition;
  const { offsets, experts } = expertsByRank(partition);
  const localExperts = experts.subarray(offsets[rank], offsets[rank + 1]);
  const countsOf = readSent(sent, numRanks, numExperts);
  return collectArrivals({ rank, numRanks, numExperts, alignment }, localExperts, (source) => {
    const { perRank, perExpert } = countsOf(source);
    return { tokens: () => countAt(perRank, rank), selections: (_, expert) => countAt(perExpert, expert) };
  });
}

/** A part of an array of counts, and how messages call it. */
interface Counts {
  readonly array: ArrayLike<number>;
  readonly offset: number;
  readonly name: string;
}

/** The counts of one source rank. */
type CountsOf = (source: number) => { readonly perRank: Counts; readonly perExpert: Counts };

/** @throws DispatchLayoutError `SENT`, `DETACHED_BUFFER` */
function readSent(sent: Sent, numRanks: number, numExperts: number): CountsOf {
  if (!Array.isArray(sent)) {
    const { numTokensPerRank, numTokensPerExpert } = Object(sent) as GatheredCounts;
    const perRank = readCounts(numTokensPerRank, numRanks * numRanks, 'sent.numTokensPerRank');
    const perExpert = readCounts(numTokensPerExpert, numRanks * numExperts, 'sent.numTokensPerExpert');
    return (source) => ({
      perRank: { ...perRank, offset: source * numRanks },
      perExpert: { ...perExpert, offset: source * numExperts },
    });
  }
  if (sent.length !== numRanks) {
    throw new DispatchLayoutError('SENT', `sent has ${sent.length} layouts, and the group has ${numRanks} ranks`, {
      value: sent.length,
      remedy: 'Pass one layout for each source rank, in the order of ranks.',
    });
  }
  return (source) => readSentCounts(sent[source], numRanks, numExperts, `sent[${source}].`);
}

/**
 * Reads the counts of a layout.
 *
 * @param owner what precedes the names of the arrays in messages.
 * @throws DispatchLayoutError `SENT`, `DETACHED_BUFFER`
 */
export function readSentCounts(
  layout: SentCounts,
  numRanks: number,
  numExperts: number,
  owner: string,
): ReturnType<CountsOf> {
  const { numTokensPerRank, numTokensPerExpert, event } = Object(layout) as SentCounts;
  if (event instanceof EventOverlap && !event.done) {
    throw new DispatchLayoutError('SENT', `${owner}event has not finished`, {
      value: event,
      remedy: 'The counts of this layout are still being computed: await event.wait() first.',
    });
  }
  return {
    perRank: readCounts(numTokensPerRank, numRanks, `${owner}numTokensPerRank`),
    perExpert: readCounts(numTokensPerExpert, numExperts, `${owner}numTokensPerExpert`),
  };
}

/** @throws DispatchLayoutError `SENT`, `DETACHED_BUFFER` */
function readCounts(array: ArrayLike<number>, length: number, name: string): Counts {
  const given = numCountsIn(array, name);
  if (given === length) return { array, offset: 0, name };
  const problem = given === undefined ? `${name} is ${describe(array)}` : `${name} has ${describe(given)} elements`;
  throw new DispatchLayoutError('SENT', problem, {
    value: array,
    remedy: `It must have ${length}: pass what all ranks of this group send, for the same number of experts.`,
  });
}

/**
 * The length of an array of counts, whatever it is; undefined for what is no array.
 *
 * @throws DispatchLayoutError `SENT` if it is on a GPU, `DETACHED_BUFFER`
 */
export function numCountsIn(array: unknown, name: string): unknown {
  if (isGpuTensor(array)) {
    throw new DispatchLayoutError('SENT', `${name} is on the device ${array.device}`, {
      value: array,
      remedy: 'Copy the counts to the host first, by toTypedArray() or toTypedArrayAsync().',
    });
  }
  if (typedArrayName(array) !== undefined) checkAttached(array as Int32Array, name);
  return typeof array === 'object' && array !== null ? (array as Partial<ArrayLike<number>>).length : undefined;
}

/** @throws DispatchLayoutError `SENT` */
export function countAt({ array, offset, name }: Counts, index: number): number {
  const count: unknown = array[offset + index];
  if (typeof count === 'number' && count === (count | 0) && count >= 0) return count;
  throw new DispatchLayoutError('SENT', `${name}[${offset + index}] is ${describe(count)}`, {
    value: count,
    remedy: 'Counts are integers from 0 to 2147483647.',
  });
}
