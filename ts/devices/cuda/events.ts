/**
 * The CUDA device has three kinds of events:
 *
 * - {@link StreamEvent} is a point in the work of a stream.
 * - {@link TensorLayoutEvent} is the end of a layout of tensors. Waiting for it reports what strict mode has found.
 * - {@link HostLayoutEvent} is the end of a layout of host arrays. Waiting for it writes the arrays, or throws.
 *
 * @module
 */
import type { EventHandle } from '../../layout/event-overlap.ts';
import type { LayoutRequest } from '../../layout/layout-request.ts';
import type { HostLayoutHandle, NativeEvent } from './addon.ts';
import { currentStreamHandle, innermostStream } from './current-stream.ts';
import { finishHostLayout } from './host-layout.ts';
import type { IdCheck } from './id-check.ts';
import { addonInUse, type Gpu } from './runtime.ts';
import { untilDone } from './until-done.ts';

/** An event that streams can wait for on the GPU. */
export interface CudaEvent extends EventHandle {
  readonly native: NativeEvent;
}

/** Whether streams can wait for an event on the GPU. The calling thread must wait for any other event. */
export function isCudaEvent(event: EventHandle): event is CudaEvent {
  return event instanceof StreamEvent || event instanceof HostLayoutEvent;
}

/** A point in the work of a stream. */
export class StreamEvent implements CudaEvent {
  readonly native: NativeEvent;
  readonly #gpu: Gpu;

  /** @param gpu the GPU of the stream. */
  constructor(native: NativeEvent, gpu: Gpu) {
    this.native = native;
    this.#gpu = gpu;
  }

  get done(): boolean {
    return addonInUse().isDone(this.native);
  }

  currentStreamWait(): void {
    const addon = addonInUse();
    // What follows may be on this GPU or on that of the innermost stream, each of which has a current stream of its own
    const innermost = innermostStream();
    addon.makeStreamWait(currentStreamHandle(this.#gpu), this.native);
    if (innermost !== undefined && innermost.gpu !== this.#gpu) addon.makeStreamWait(innermost.native, this.native);
  }

  synchronize(): void {
    addonInUse().synchronizeEvent(this.native);
  }

  wait(): Promise<void> {
    return untilDone(this.native);
  }
}

/** The end of a layout of tensors. It reports what strict mode has found, once the host has waited. */
export class TensorLayoutEvent extends StreamEvent {
  readonly #check: IdCheck | undefined;

  /** @param check undefined if invalid ids are ignored. */
  constructor(native: NativeEvent, gpu: Gpu, check: IdCheck | undefined) {
    super(native, gpu);
    this.#check = check;
  }

  override synchronize(): void {
    super.synchronize();
    this.#check?.assertValid();
  }

  override async wait(): Promise<void> {
    await super.wait();
    this.#check?.assertValid();
  }
}

/**
 * The end of an asynchronous layout of host arrays. The first call that waits for it, or finds it done, writes the
 * arrays. If the layout has failed, waiting throws instead, and the arrays stay untouched.
 */
export class HostLayoutEvent implements CudaEvent {
  readonly native: NativeEvent;
  readonly #layout: HostLayoutHandle;
  /** The request, until the arrays are written. A group does not use the request of an asynchronous call again. */
  #request: LayoutRequest | undefined;
  #error: unknown;

  constructor(layout: HostLayoutHandle, request: LayoutRequest) {
    this.native = addonInUse().eventOf(layout);
    this.#layout = layout;
    this.#request = request;
    // By now the layout is queued behind the previous event. If each event kept the one before, all of them would be
    // kept
    request.previous = null;
  }

  get done(): boolean {
    if (this.#request !== undefined && addonInUse().isDone(this.native)) this.#finish(this.#request);
    return this.#request === undefined;
  }

  /** The calling thread waits, since it is the one that writes the arrays. */
  currentStreamWait(): void {
    this.synchronize();
  }

  synchronize(): void {
    if (this.#request !== undefined) this.#finish(this.#request);
    if (this.#error !== undefined) throw this.#error;
  }

  async wait(): Promise<void> {
    if (this.#request !== undefined) await untilDone(this.native);
    this.synchronize();
  }

  #finish(request: LayoutRequest): void {
    try {
      finishHostLayout(this.#layout, request);
    } catch (error) {
      this.#error = error;
    }
    this.#request = undefined;
  }
}
