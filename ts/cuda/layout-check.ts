/**
 * Strict mode for ids that are on the GPU: the kernel notes the first one that is no expert, and the next
 * synchronisation reports it.
 *
 * @module
 */
import { InvalidExpertError } from '../errors.ts';
import type { IdType } from '../topk-idx.ts';
import type { StatusHandle } from './addon.ts';
import { addonInUse } from './runtime.ts';

/** The check of one queued layout. */
export class LayoutCheck {
  #status: StatusHandle | undefined;
  #error: InvalidExpertError | undefined;
  #isReported = false;
  readonly #idType: IdType;
  readonly #numTopk: number;
  readonly #numExperts: number;

  constructor(status: StatusHandle, idType: IdType, numTopk: number, numExperts: number) {
    this.#status = status;
    this.#idType = idType;
    this.#numTopk = numTopk;
    this.#numExperts = numExperts;
  }

  /** Whether the layout has been computed. */
  get isDone(): boolean {
    return this.#status === undefined || addonInUse().isDone(this.#status);
  }

  /** Whether the error, if there is one, has been thrown. */
  get isReported(): boolean {
    return this.#isReported;
  }

  /**
   * To be called when the layout is done.
   *
   * @throws InvalidExpertError every time, if an id was no expert.
   */
  assertValid(): void {
    if (this.#status !== undefined) {
      this.#error = this.#readError(this.#status);
      addonInUse().release(this.#status);
      this.#status = undefined;
    }
    if (this.#error === undefined) return;
    this.#isReported = true;
    throw this.#error;
  }

  #readError(status: StatusHandle): InvalidExpertError | undefined {
    const addon = addonInUse();
    const position = addon.statusPosition(status);
    if (position < 0) return undefined;
    const token = Math.floor(position / this.#numTopk);
    const slot = position % this.#numTopk;
    const bits = addon.readDeviceId(status, position);
    const value = bits === null ? undefined : idValue(bits, this.#idType);
    // By now the caller may have overwritten or disposed of the tensor: then the value is unknown
    const isKnown = value !== undefined && (value < -1 || value >= this.#numExperts);
    return new InvalidExpertError(isKnown ? value : undefined, token, slot, this.#numExperts);
  }
}

/** An id of the addon as the element of a typed array would be. */
export function idValue(value: bigint, idType: IdType): number | bigint {
  if (idType === 'uint64') return BigInt.asUintN(64, value);
  return idType === 'int64' ? value : Number(value);
}
