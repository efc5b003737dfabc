/**
 * A layout of host arrays under way on the GPU: its results reach the caller's arrays when it is waited for.
 *
 * @module
 */
import { DispatchLayoutError, InvalidExpertError } from '../errors.ts';
import type { EventHandle } from '../event-overlap.ts';
import type { LayoutArrays } from '../layout.ts';
import type { TopkIdx } from '../topk-idx.ts';
import type { HostLayoutHandle, NativeEvent } from './addon.ts';
import { idValue } from './layout-check.ts';
import { untilDone } from './polling.ts';
import { addonInUse } from './runtime.ts';

/** The event of one layout of host arrays. Whatever waits for it first writes the arrays, or throws instead. */
export class HostLayoutEvent implements EventHandle {
  /** What the GPU can wait for. */
  readonly native: NativeEvent;
  readonly #layout: HostLayoutHandle;
  readonly #topkIdx: TopkIdx;
  readonly #numExperts: number;
  readonly #out: LayoutArrays;
  #isFinished = false;
  #error: unknown;

  constructor(layout: HostLayoutHandle, topkIdx: TopkIdx, numExperts: number, out: LayoutArrays) {
    this.native = addonInUse().eventOf(layout);
    this.#layout = layout;
    this.#topkIdx = topkIdx;
    this.#numExperts = numExperts;
    this.#out = out;
  }

  get done(): boolean {
    if (!this.#isFinished && addonInUse().isDone(this.native)) this.#finish();
    return this.#isFinished;
  }

  /** The arrays are the host's, so that the calling thread waits. */
  currentStreamWait(): void {
    this.synchronize();
  }

  synchronize(): void {
    if (!this.#isFinished) this.#finish();
    if (this.#error !== undefined) throw this.#error;
  }

  async wait(): Promise<void> {
    await untilDone(() => this.done);
    this.synchronize();
  }

  #finish(): void {
    try {
      this.#writeArrays();
    } catch (error) {
      this.#error = error;
    }
    this.#isFinished = true;
    addonInUse().release(this.#layout);
  }

  #writeArrays(): void {
    const addon = addonInUse();
    const { numTokens, numTopk, idType } = this.#topkIdx;
    const position = addon.synchronizeHost(this.#layout);
    if (position >= 0) {
      const token = Math.floor(position / numTopk);
      const slot = position % numTopk;
      // The caller's own value, which may be wider than what was computed with, unless it changed in the meantime
      const own = this.#topkIdx.valueAt(token, slot);
      const isInvalid = own !== undefined && (own < -1 || own >= this.#numExperts);
      const value = isInvalid ? own : idValue(addon.readHostId(this.#layout, position), idType);
      throw new InvalidExpertError(value, token, slot, this.#numExperts);
    }
    const { numTokensPerRank, numTokensPerRdmaRank, numTokensPerExpert, isTokenInRank } = this.#out;
    const numRanks = numTokensPerRank.length;
    const isWritten = addon.copyHostOutputs(
      this.#layout,
      numTokensPerRank,
      numRanks * 4,
      numTokensPerRdmaRank,
      (numTokensPerRdmaRank?.length ?? 0) * 4,
      numTokensPerExpert,
      this.#numExperts * 4,
      isTokenInRank,
      numTokens * numRanks,
    );
    if (isWritten) return;
    throw new DispatchLayoutError(
      'DETACHED_BUFFER',
      'an array of the results was detached before the layout was done',
      {
        value: this.#out,
        remedy: 'Wait for the event before transferring the arrays.',
      },
    );
  }
}
