/**
 * Strict mode for ids that are on the GPU: the kernel notes the first selection whose id is neither empty nor an expert,
 * together with this id, and the next synchronisation reports it.
 *
 * @module
 */
import { InvalidExpertError } from '../../errors/errors.ts';
import type { EmptyId, TopkIdx } from '../../input/topk-idx.ts';
import { type IdType, idTypes } from '../../values/id-types.ts';
import type { InvalidSelection, StatusHandle } from './addon.ts';
import { addonInUse } from './runtime.ts';

/** The check of one queued layout. */
export class IdCheck {
  /** Undefined once it was read. */
  #status: StatusHandle | undefined;
  #found: InvalidSelection | null = null;
  #isReported = false;
  readonly #idType: IdType;
  readonly #axes: Pick<TopkIdx, 'numTopk' | 'leadingAxes'>;
  readonly #numExperts: number;

  constructor(
    status: StatusHandle,
    idType: IdType,
    axes: Pick<TopkIdx, 'numTopk' | 'leadingAxes'>,
    numExperts: number,
  ) {
    this.#status = status;
    this.#idType = idType;
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
      this.#found = addonInUse().firstInvalid(this.#status);
      addonInUse().release(this.#status);
      this.#status = undefined;
    }
    if (this.#found === null) return;
    this.#isReported = true;
    const { token, slot, id } = this.#found;
    const ids = { ...this.#axes, valueAt: () => idValue(id, this.#idType) };
    throw InvalidExpertError.at(token * ids.numTopk + slot, ids, this.#numExperts, context);
  }
}

/** Converts the id that stands for an empty slot beside -1 to what the addon takes: its 64 bits. */
export function emptyIdBits(emptyId: EmptyId): bigint | null {
  return emptyId === null ? null : BigInt.asUintN(64, BigInt(emptyId));
}

/** Converts the bits of an id to an element of a typed array of its type. */
export function idValue(bits: bigint, idType: IdType): number | bigint {
  const { bytes, isSigned } = idTypes[idType];
  const value = isSigned ? BigInt.asIntN(8 * bytes, bits) : bits;
  return bytes < 8 ? Number(value) : value;
}
