/**
 * The group of ranks that experts are spread over: what DeepEP's `Buffer` is to its users.
 *
 * @module
 */

import { describe } from './describe.ts';
import type { Device, DeviceName, PreparedDevice } from './device.ts';
import { chooseDevice, type DeviceOption } from './devices.ts';
import { DispatchLayoutError } from './errors.ts';
import { EventOverlap, finishedHandle, notRecorded } from './event-overlap.ts';
import type { DispatchLayout, LayoutArrays } from './layout.ts';
import { allocateOut, checkOut, readOut } from './out-arrays.ts';
import { checkPlacement, checkRankGroup, type Partition, partitionExperts, type RankGroup } from './partition.ts';
import { checkAttached, readTopkIdx, type TopkIdxInput } from './topk-idx.ts';

/** What an {@link ExpertGroup} is made of. */
export interface ExpertGroupOptions {
  /** Number of ranks in the expert-parallel group. */
  readonly numRanks: number;
  /**
   * Number of ranks that share a node, and so one RDMA rank; any number that divides `numRanks`, or is not smaller.
   * Default 8, what DeepEP is built for.
   */
  readonly numRanksPerNode?: number | undefined;
  /**
   * `[numExperts]`: the rank of each expert, any assignment. Default: contiguous blocks of `numExperts / numRanks`
   * experts, as in DeepEP. The table is copied.
   */
  readonly placement?: ArrayLike<number> | undefined;
  /** Where to compute. Default `auto`: the best that is available. */
  readonly device?: DeviceOption | undefined;
}

/** What can differ from one call to the next. */
export interface LayoutOptions {
  /**
   * What to do with an id that is neither -1 nor in `[0, numExperts)`, and with experts that do not divide evenly
   * among ranks. `throw` (default) reports the first; `ignore` skips them, as DeepEP does.
   */
  readonly invalidExperts?: 'throw' | 'ignore' | undefined;
  /**
   * Arrays to write to, such as an earlier result. Untouched if the call throws. Where `isTokenInRank` is longer than
   * needed, the result has a view of its first part: to use all of it again, pass the same object again. Default: new
   * arrays.
   */
  readonly out?: LayoutArrays | undefined;
  /** Work to wait for before the layout is computed. */
  readonly previousEvent?: EventOverlap | undefined;
  /** Whether the current stream goes on without waiting; the outputs are valid after `event`. Default false. */
  readonly asyncFinish?: boolean | undefined;
  /** Whether the outputs belong to the communication stream; needs `previousEvent` and `asyncFinish`. Default false. */
  readonly allocateOnCommStream?: boolean | undefined;
}

/**
 * Computes layouts for one group of ranks. It owns the device, the communication stream and the prepared tables, so that
 * repeated calls with the same `numExperts` cost nothing but the kernel.
 *
 * ```ts
 * const group = new ExpertGroup({ numRanks: 16 });
 * const layout = group.getDispatchLayout({ data: ids, shape: [4096, 8] }, 256);
 * layout.numTokensPerRdmaRank; // Int32Array(2)
 * ```
 */
export class ExpertGroup {
  readonly #group: RankGroup;
  readonly #placement: Int32Array | undefined;
  readonly #device: Device;
  #partition: Partition | undefined;
  #prepared: PreparedDevice | undefined;

  /**
   * @throws {@link DispatchLayoutError} `NUM_RANKS`, `NUM_RANKS_PER_NODE`, `PLACEMENT`, `OPTION`
   * @throws {@link DeviceUnavailableError} if `device` names one that cannot be used here.
   */
  constructor(options: ExpertGroupOptions) {
    const { numRanks, numRanksPerNode = 8, placement, device = 'auto' } = checkObject('options', options);
    this.#group = checkRankGroup(numRanks, numRanksPerNode);
    this.#placement = placement === undefined ? undefined : checkPlacement(placement, numRanks);
    this.#device = chooseDevice(device);
  }

  /** Number of ranks in the group. */
  get numRanks(): number {
    return this.#group.numRanks;
  }

  /** Number of ranks that share a node. */
  get numRanksPerNode(): number {
    return this.#group.numRanksPerNode;
  }

  /** Number of nodes; 1 within one node, where `numTokensPerRdmaRank` is `null`. */
  get numRdmaRanks(): number {
    return this.#group.numRdmaRanks;
  }

  /** The device that computes the layouts of this group. */
  get device(): DeviceName {
    return this.#device.name;
  }

  /**
   * The layout of what this rank is about to dispatch: how many tokens go to each rank, each RDMA rank and each expert,
   * and which token goes to which rank. Semantics: DeepEP's `Buffer.get_dispatch_layout`.
   *
   * @param topkIdx `[numTokens, numTopk]` integers: the expert of each slot of each token, -1 for none.
   * @param numExperts experts over all ranks.
   * @throws {@link InvalidExpertError} for the first id that is neither -1 nor an expert, unless they are ignored.
   * @throws {@link DispatchLayoutError} `TOPK_TYPE`, `TOPK_SHAPE`, `DETACHED_BUFFER`, `NUM_EXPERTS`, `UNEVEN_EXPERTS`,
   *   `PLACEMENT`, `OUT`, `OPTION`, `EVENT_FLAGS`, `TOO_LARGE`, `OUT_OF_MEMORY`
   */
  getDispatchLayout(topkIdx: TopkIdxInput, numExperts: number, options: LayoutOptions = {}): DispatchLayout {
    const { invalidExperts, out, previousEvent, asyncFinish, allocateOnCommStream } = checkObject('options', options);
    const strict = isStrict(invalidExperts);
    checkEventFlags(previousEvent, asyncFinish, allocateOnCommStream);
    const given = out === undefined ? undefined : readOut(out);
    const ids = readTopkIdx(topkIdx);
    const prepared = this.#prepare(numExperts, strict);
    const { numTokens, numTopk } = ids;
    const { numRanks, numRdmaRanks } = this.#group;
    const shape = { numTokens, numTopk, numExperts, numRanks, numRdmaRanks };
    const arrays = given === undefined ? allocateOut(shape) : checkOut(given, shape, ids);

    if (previousEvent?.recorded) {
      previousEvent.currentStreamWait();
      // An event may run code of the caller, which may transfer arrays away
      checkAttached(ids.data);
      if (given !== undefined) checkOut(given, shape, ids);
    }
    prepared.computeLayout(ids, strict, arrays, given !== undefined);
    return {
      // Named one by one: spreading both objects takes microseconds
      numTokensPerRank: arrays.numTokensPerRank,
      numTokensPerRdmaRank: arrays.numTokensPerRdmaRank,
      numTokensPerExpert: arrays.numTokensPerExpert,
      isTokenInRank: arrays.isTokenInRank,
      numTokens,
      numTopk,
      numExperts,
      numRanks,
      numRdmaRanks,
      event: asyncFinish ? new EventOverlap(finishedHandle) : notRecorded,
      device: this.#device.name,
    };
  }

  /** An event recorded on the current stream, to pass as `previousEvent`: DeepEP's `Buffer.capture`. */
  capture(): EventOverlap {
    return new EventOverlap(finishedHandle);
  }

  #prepare(numExperts: number, strict: boolean): PreparedDevice {
    if (this.#prepared !== undefined && this.#partition?.numExperts === numExperts) {
      const isEven = this.#placement !== undefined || numExperts % this.#group.numRanks === 0;
      if (isEven || !strict) return this.#prepared;
    }
    const partition = partitionExperts(this.#group, numExperts, this.#placement, strict);
    this.#prepared = this.#device.prepare(partition);
    this.#partition = partition;
    return this.#prepared;
  }
}

function checkObject<Options extends object>(name: string, options: Options): Options {
  if (typeof options !== 'object' || options === null) {
    throw new DispatchLayoutError('OPTION', `${name} is ${describe(options)}`, {
      value: options,
      remedy: 'Pass an object.',
    });
  }
  return options;
}

function isStrict(invalidExperts: unknown): boolean {
  if (invalidExperts === undefined || invalidExperts === 'throw') return true;
  if (invalidExperts === 'ignore') return false;
  throw new DispatchLayoutError('OPTION', `invalidExperts is ${describe(invalidExperts)}`, {
    value: invalidExperts,
    remedy: "It must be 'throw' or 'ignore'.",
  });
}

/** DeepEP's host-side assertions on the stream options, as errors. */
function checkEventFlags(
  previousEvent: EventOverlap | undefined,
  asyncFinish: boolean | undefined,
  allocateOnCommStream: boolean | undefined,
): void {
  checkFlag('asyncFinish', asyncFinish);
  checkFlag('allocateOnCommStream', allocateOnCommStream);
  if (previousEvent !== undefined && !(previousEvent instanceof EventOverlap)) {
    throw new DispatchLayoutError('EVENT_FLAGS', `previousEvent is ${describe(previousEvent)}`, {
      value: previousEvent,
      remedy: 'Pass the event of an earlier layout, or one from group.capture().',
    });
  }
  if (allocateOnCommStream && !(previousEvent?.recorded && asyncFinish)) {
    const missing = [
      previousEvent?.recorded ? [] : 'a recorded previousEvent',
      asyncFinish ? [] : 'asyncFinish',
    ].flat();
    throw new DispatchLayoutError('EVENT_FLAGS', `allocateOnCommStream was given without ${missing.join(' and ')}`, {
      value: allocateOnCommStream,
      remedy: 'Outputs of the communication stream need both previousEvent (recorded) and asyncFinish: true.',
    });
  }
}

function checkFlag(name: string, flag: unknown): void {
  if (flag === undefined || typeof flag === 'boolean') return;
  throw new DispatchLayoutError('OPTION', `${name} is ${describe(flag)}`, {
    value: flag,
    remedy: 'It must be true or false.',
  });
}
