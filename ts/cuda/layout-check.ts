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

/** The first id that is no expert. */
interface Offender {
  readonly value: number | bigint | undefined;
  readonly token: number;
  readonly slot: number;
}

/** The check of one queued layout. */
export class LayoutCheck {
  #status: StatusHandle | undefined;
  #offender: Offender | undefined;
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

  /**
   * To be called when the layout is done.
   *
   * @throws InvalidExpertError every time, if an id was no expert.
   */
  assertValid(): void {
    this.#assertValid('');
  }

  /**
   * The same for a later layout of the group: throws only what nobody has been told.
   *
   * @throws InvalidExpertError
   */
  assertReported(): void {
    if (!this.#isReported) this.#assertValid('in an earlier layout, ');
  }

  #assertValid(context: string): void {
    if (this.#status !== undefined) {
      this.#offender = this.#findOffender(this.#status);
      addonInUse().release(this.#status);
      this.#status = undefined;
    }
    if (this.#offender === undefined) return;
    this.#isReported = true;
    const { value, token, slot } = this.#offender;
    throw new InvalidExpertError(value, token, slot, this.#numExperts, context);
  }

  #findOffender(status: StatusHandle): Offender | undefined {
    const addon = addonInUse();
    const position = addon.statusPosition(status);
    if (position < 0) return undefined;
    const token = Math.floor(position / this.#numTopk);
    const slot = position % this.#numTopk;
    const bits = addon.readDeviceId(status, position);
    const value = bits === null ? undefined : idValue(bits, this.#idType);
    // By now the caller may have overwritten or disposed of the tensor: then the value is unknown
    const isKnown = value !== undefined && (value < -1 || value >= this.#numExperts);
    return { value: isKnown ? value : undefined, token, slot };
  }
}

/** An id of the addon as the element of a typed array would be. */
export function idValue(value: bigint, idType: IdType): number | bigint {
  if (idType === 'uint64') return BigInt.asUintN(64, value);
  return idType === 'int64' ? value : Number(value);
}
