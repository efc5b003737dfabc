/**
 * A layout of host arrays under way on the GPU: its results reach the caller's arrays when it is waited for.
 *
 * @module
 */
import { DispatchLayoutError, InvalidExpertError, isInvalidExpert } from '../../errors/errors.ts';
import type { EventHandle } from '../../layout/event-overlap.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import { lengthOfOutput, outputNames, outputs } from '../../layout/outputs.ts';
import { idTypes } from '../../values/id-types.ts';
import type { HostLayoutHandle, NativeEvent } from './addon.ts';
import { idValue } from './id-check.ts';
import { untilDone } from './polling.ts';
import { addonInUse } from './runtime.ts';

/** The event of one layout of host arrays. Whatever waits for it first writes the arrays, or throws instead. */
export class HostLayoutEvent implements EventHandle {
  /** What the GPU can wait for. */
  readonly native: NativeEvent;
  readonly #layout: HostLayoutHandle;
  /** Kept until the event is waited for: a group does not use the request of an asynchronous call again. */
  readonly #request: LayoutRequest;
  #isFinished = false;
  #error: unknown;

  constructor(layout: HostLayoutHandle, request: LayoutRequest) {
    this.native = addonInUse().eventOf(layout);
    this.#layout = layout;
    this.#request = request;
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
    const selection = addon.synchronizeHost(this.#layout);
    const { out, topkIdx, numTopk, numExperts } = this.#request;
    if (selection >= 0) {
      const valueAt = (token: number, slot: number) => {
        // The caller's own value, which may be wider than what was computed with, unless it changed in the meantime
        const own = topkIdx.valueAt(token, slot);
        if (own !== undefined && isInvalidExpert(own, numExperts)) return own;
        return idValue(addon.readHostId(this.#layout, selection), topkIdx.type.name);
      };
      throw InvalidExpertError.at(selection, { numTopk, valueAt }, numExperts);
    }
    const arrays = outputNames.flatMap((name) => {
      const bytes = (lengthOfOutput(outputs[name], this.#request) ?? 0) * idTypes[outputs[name].type].bytes;
      return [out[name], bytes];
    });
    if (addon.copyHostOutputs(this.#layout, ...arrays)) return;
    throw new DispatchLayoutError(
      'DETACHED_BUFFER',
      'an array of the results was detached before the layout was done',
      {
        value: out,
        remedy: 'Wait for the event before transferring the arrays.',
      },
    );
  }
}
