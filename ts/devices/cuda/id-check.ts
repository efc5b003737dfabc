/**
 * Strict mode for ids that are on the GPU: the kernel notes the first selection whose id is neither empty nor an expert,
 * together with this id, and the next synchronisation reports it.
 *
 * @module
 */
import { InvalidExpertError } from '../../errors/errors.ts';
import type { EmptyId } from '../../input/topk-idx.ts';
import type { ComputationKind } from '../../layout/outputs.ts';
import { type IdType, idTypes } from '../../values/id-types.ts';
import type { GroupHandle, InvalidSelection } from './addon.ts';
import { addonInUse } from './runtime.ts';

/** The ids of a call, as far as an error must know them. */
export interface CheckedIds {
  /** What the call computes. */
  readonly kind: ComputationKind;
  readonly idType: IdType;
  readonly numTopk: number;
  readonly leadingAxes: readonly number[] | null;
  readonly numExperts: number;
}

/** How an error begins that another call throws. */
const contexts: Readonly<Record<ComputationKind, string>> = {
  layout: 'in an earlier layout, ',
  byExpert: 'in an earlier order by expert, ',
  byRank: 'in an earlier order by rank, ',
};

/** The check of one queued layout. */
export class IdCheck {
  readonly #group: GroupHandle;
  /** The number of the layout among the strict ones of its group. */
  readonly number: number;
  readonly #ids: CheckedIds;
  /** Undefined until it was asked for. */
  #found: InvalidSelection | null | undefined;

  constructor(group: GroupHandle, number: number, ids: CheckedIds) {
    this.#group = group;
    this.number = number;
    this.#ids = ids;
  }

  /** Whether the ids have been checked. */
  get isDone(): boolean {
    return this.#found !== undefined || addonInUse().isChecked(this.#group, this.number);
  }

  /**
   * Reports what was found. It must be called only when the check is done.
   *
   * @param isOfEarlier whether it is another call that throws.
   * @throws InvalidExpertError every time, if an id was invalid.
   */
  assertValid(isOfEarlier = false): void {
    if (this.#found === undefined) this.#found = addonInUse().findInvalid(this.#group, this.number);
    if (this.#found === null) return;
    const { token, slot, id } = this.#found;
    const { kind, idType, numTopk, leadingAxes, numExperts } = this.#ids;
    const ids = { numTopk, leadingAxes, valueAt: () => idValue(id, idType) };
    throw InvalidExpertError.at(token * numTopk + slot, ids, numExperts, isOfEarlier ? contexts[kind] : '');
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
