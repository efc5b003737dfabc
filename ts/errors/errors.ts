/**
 * The errors of this library form one small family. Every error has a stable `code` and a `remedy`, and, where they
 * apply, the offending `value` and its position. When a call throws one, no array of the caller has been written to.
 * This does not hold for tensors on a GPU: an invalid id in one is found only while the kernel writes the results.
 *
 * @module
 */
import { isInvalidExpert } from '../values/invalid-expert.ts';
import { type DeviceDescription, type DeviceName, describeObstacle, type Obstacle } from './availability.ts';

/** A stable identifier of what went wrong. */
export type ErrorCode =
  /** An id of `topkIdx` is neither an expert, in `[0, numExperts)`, nor empty (`-1` or `emptyId`). */
  | 'INVALID_EXPERT'
  /** `topkIdx` is not one of the accepted forms, or its elements are not integers. */
  | 'TOPK_TYPE'
  /** `topkIdx` is not `[numTokens, numTopk]`, or its data do not cover that shape. */
  | 'TOPK_SHAPE'
  /** The buffer under `topkIdx` or under another array of the caller was detached (transferred to another thread). */
  | 'DETACHED_BUFFER'
  /** `numExperts` is not an integer from 1 to 16777216. */
  | 'NUM_EXPERTS'
  /** `numRanks` is not an integer from 1 to 16777216. */
  | 'NUM_RANKS'
  /** `numRanksPerNode` is not an integer from 1 to 16777216, or is less than `numRanks` and does not divide it. */
  | 'NUM_RANKS_PER_NODE'
  /** `numExperts` is no multiple of `numRanks`, and no `placement` says where the experts are. */
  | 'UNEVEN_EXPERTS'
  /**
   * `placement` is neither a name of a placement nor a table of `numExperts` ranks; or a plan of `dispatch-layout/placement`
   * contradicts itself, or cannot be said in the form that was asked for.
   */
  | 'PLACEMENT'
  /** An array of `out` has the wrong type or length, or shares memory with another one. */
  | 'OUT'
  /** What ranks have sent is no layout of each rank of the group, or the counts in it contradict each other. */
  | 'SENT'
  /** The ranks of an exchange disagree, or what `allToAll` resolved to is not what the ranks have sent. */
  | 'EXCHANGE'
  /** An option has a value outside its domain, or there is no such option. */
  | 'OPTION'
  /** An environment variable has a value outside its domain. */
  | 'ENVIRONMENT'
  /** `previousEvent`, `asyncFinish` and `allocateOnCommStream` contradict each other. */
  | 'EVENT_FLAGS'
  /** An event that was never recorded was waited for. */
  | 'EVENT_NOT_RECORDED'
  /** The request has more elements than 32-bit counts or one array can hold. */
  | 'TOO_LARGE'
  /** There was not enough memory for the request: in the process, in WebAssembly, or on the GPU. */
  | 'OUT_OF_MEMORY'
  /** The requested device cannot be used here. */
  | 'DEVICE_UNAVAILABLE'
  /** A call of the CUDA runtime failed, or work that was queued on the GPU failed. */
  | 'CUDA_ERROR'
  /** A CUDA graph is being captured, and the call cannot be a part of it. */
  | 'CAPTURE'
  /** The type, shape, address, handle or GPU of a `DeviceTensor` or `Stream` is invalid, or does not fit the call. */
  | 'TENSOR'
  /** A `DeviceTensor` was used after it was disposed of. */
  | 'DISPOSED';

/** What every error of this library carries. */
export interface ErrorDetails {
  /** The offending value, as the caller gave it. */
  readonly value?: unknown;
  /** What to do about it, in full sentences. */
  readonly remedy: string;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/**
 * The base class of the family: `error instanceof DispatchLayoutError` holds for every error that this library throws
 * on purpose.
 */
export class DispatchLayoutError extends Error {
  /** The name of the class. */
  override readonly name: string = 'DispatchLayoutError';
  /** The stable identifier of what went wrong. */
  readonly code: ErrorCode;
  /** The offending value, as the caller gave it. */
  readonly value: unknown;
  /** What to do about it. */
  readonly remedy: string;

  constructor(code: ErrorCode, problem: string, details: ErrorDetails) {
    super(`${problem}. ${details.remedy}`, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.value = details.value;
    this.remedy = details.remedy;
  }
}

/** What an error needs to know about ids: how many each token has, and what the caller wrote. */
interface IdSource {
  readonly numTopk: number;
  /** The axes that are read as tokens, if there are several. */
  readonly leadingAxes?: readonly number[] | null;
  /** The id in a slot; undefined where it is no longer known. */
  valueAt(token: number, slot: number): number | bigint | undefined;
}

/**
 * An id of `topkIdx` is neither an expert nor empty (`-1` or `emptyId`). The first one in row-major order is reported.
 */
export class InvalidExpertError extends DispatchLayoutError {
  /** The name of the class. */
  override readonly name = 'InvalidExpertError';
  /**
   * The row of the offending id in `topkIdx`. If several axes are read as tokens, rows are counted along all of them.
   */
  readonly token: number;
  /** The column of the offending id in `topkIdx`. */
  readonly slot: number;

  /**
   * @param value undefined where it is no longer known, because its memory has changed since.
   * @param context words that say that the id was passed to another call than the one that throws: `'in an earlier
   *   layout, '`.
   */
  constructor(value: number | bigint | undefined, token: number, slot: number, numExperts: number, context = '') {
    const what = value === undefined ? 'was' : `is ${value},`;
    super('INVALID_EXPERT', `${context}topkIdx[${token}][${slot}] ${what} not an expert in [0, ${numExperts})`, {
      value,
      remedy: "Use -1 for an empty slot, correct numExperts, or pass invalidExperts: 'ignore' to skip such ids.",
    });
    this.token = token;
    this.slot = slot;
  }

  /**
   * The error of one selection, numbered `token * numTopk + slot`. If the value is valid by now, it cannot be the one
   * that was found, and the error leaves it out.
   *
   * @internal
   */
  static at(selection: number, ids: IdSource, numExperts: number, context = ''): InvalidExpertError {
    const token = Math.floor(selection / ids.numTopk);
    const slot = selection % ids.numTopk;
    const value = ids.valueAt(token, slot);
    const found = value !== undefined && isInvalidExpert(value, numExperts) ? value : undefined;
    const axes = ids.leadingAxes ? `with [${ids.leadingAxes.join(', ')}] read as tokens, ` : '';
    return new InvalidExpertError(found, token, slot, numExperts, context + axes);
  }
}

/** The requested device cannot be used here; the message, `cause` and `description` say why. */
export class DeviceUnavailableError extends DispatchLayoutError {
  /** The name of the class. */
  override readonly name = 'DeviceUnavailableError';
  /** The device that was asked for. */
  readonly device: DeviceName;
  /** What `describeDevices` says about it: code, reason, cause, versions and remedy, but not the list of GPUs. */
  readonly description: DeviceDescription;

  constructor(device: DeviceName, obstacle: Obstacle) {
    const { reason, remedy, cause } = obstacle;
    super('DEVICE_UNAVAILABLE', `device '${device}' is not available, because ${reason}`, {
      value: device,
      remedy,
      cause,
    });
    this.device = device;
    this.description = describeObstacle(device, obstacle);
  }
}
