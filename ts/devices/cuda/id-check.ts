/**
 * Strict mode for ids that are on the GPU: the kernel records the first selection whose id is neither empty nor an
 * expert, and the next synchronisation reports it.
 *
 * @module
 */
import { InvalidExpertError } from '../../errors/errors.ts';
import type { EmptyId, TopkIdx } from '../../input/topk-idx.ts';
import { type IdType, idTypes } from '../../values/id-types.ts';
import type { StatusHandle } from './addon.ts';
import { addonInUse } from './runtime.ts';

/** The first selection whose id is neither empty nor an expert. */
interface Offender {
  /** `token * numTopk + slot` */
  readonly selection: number;
  /** Its id; undefined where it is no longer known. */
  readonly value: number | bigint | undefined;
}

/** The check of one queued layout. */
export class IdCheck {
  #status: StatusHandle | undefined;
  #offender: Offender | undefined;
  #isReported = false;
  readonly #idType: IdType;
  readonly #emptyId: bigint | null;
  readonly #axes: Pick<TopkIdx, 'numTopk' | 'leadingAxes'>;
  readonly #numExperts: number;

  /** @param emptyId as {@link emptyIdBits} returns it. */
  constructor(
    status: StatusHandle,
    idType: IdType,
    emptyId: bigint | null,
    axes: Pick<TopkIdx, 'numTopk' | 'leadingAxes'>,
    numExperts: number,
  ) {
    this.#status = status;
    this.#idType = idType;
    this.#emptyId = emptyId;
    this.#axes = axes;
    this.#numExperts = numExperts;
  }

  /** Whether the layout has been computed. */
  get isDone(): boolean {
    return this.#status === undefined || addonInUse().isDone(this.#status);
  }

  /**
   * Reports what was found. It must be called only when the layout is done.
   *
   * @throws InvalidExpertError every time, if an id was invalid.
   */
  assertValid(): void {
    this.#throwIfInvalid('');
  }

  /**
   * Reports the same on behalf of a later layout of the group, but throws only what has not been reported before.
   *
   * @throws InvalidExpertError
   */
  reportOnce(): void {
    if (!this.#isReported) this.#throwIfInvalid('in an earlier layout, ');
  }

  #throwIfInvalid(context: string): void {
    if (this.#status !== undefined) {
      this.#offender = this.#findOffender(this.#status);
      addonInUse().release(this.#status);
      this.#status = undefined;
    }
    if (this.#offender === undefined) return;
    this.#isReported = true;
    const { selection, value } = this.#offender;
    const ids = { ...this.#axes, valueAt: () => value };
    throw InvalidExpertError.at(selection, ids, this.#numExperts, context);
  }

  #findOffender(status: StatusHandle): Offender | undefined {
    const addon = addonInUse();
    const selection = addon.firstInvalidSelection(status);
    if (selection < 0) return undefined;
    const id = addon.readDeviceId(status, selection);
    // If the caller has disposed of the tensor by now, or has written the empty id there, the value is unknown
    const isUnknown = id === null || BigInt.asUintN(64, id) === this.#emptyId;
    return { selection, value: isUnknown ? undefined : idValue(id, this.#idType) };
  }
}

/** Converts the id that stands for an empty slot beside -1 to what the addon takes: its 64 bits. */
export function emptyIdBits(emptyId: EmptyId): bigint | null {
  return emptyId === null ? null : BigInt.asUintN(64, BigInt(emptyId));
}

/** Converts an id from the addon to an element of a typed array of its type. */
export function idValue(value: bigint, idType: IdType): number | bigint {
  if (idTypes[idType].bytes < 8) return Number(value);
  return idTypes[idType].isSigned ? value : BigInt.asUintN(64, value);
}
