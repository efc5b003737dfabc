/**
 * CUDA streams: queues of work on the GPU, one of which is current.
 *
 * @module
 */
import { wrongValue } from '../../errors/checks.ts';
import { EventOverlap } from '../../layout/event-overlap.ts';
import type { StreamHandle } from './addon.ts';
import { defaultStreamHandle, innermostStream, runOn } from './current-stream.ts';
import { StreamEvent } from './events.ts';
import { addonInUse, cudaAddon } from './runtime.ts';

let defaultStream: Stream | undefined;

/**
 * A CUDA stream. Tensors are allocated, copied and computed in the order of the *current* stream, which is CUDA's
 * default stream unless `run` says otherwise, as in PyTorch.
 *
 * ```ts
 * import { DeviceTensor, Stream } from 'dispatch-layout/cuda';
 *
 * const stream = new Stream();
 * const tensor = stream.run(() => DeviceTensor.from(new BigInt64Array(4096 * 8), [4096, 8]));
 * await stream.wait();
 * console.log(tensor.shape.join(' ')); // 4096 8
 * ```
 */
export class Stream {
  /**
   * For the other modules of this folder.
   *
   * @internal
   */
  readonly native: StreamHandle;

  /**
   * Makes a new stream, which is independent of the default stream. It is destroyed when it is no longer used.
   *
   * @throws DeviceUnavailableError if there is no CUDA here; {@link CudaError}
   */
  constructor();
  /** @internal */
  constructor(native: StreamHandle);
  constructor(native?: StreamHandle) {
    if (native !== undefined && typeof native !== 'object') {
      throw wrongValue('TENSOR', 'the argument of new Stream', native, 'Use Stream.fromHandle for a cudaStream_t.');
    }
    this.native = native ?? cudaAddon().createStream();
  }

  /**
   * Wraps a stream that other code made, such as PyTorch's `torch.cuda.current_stream().cuda_stream` within one
   * process. The stream must exist for as long as this object does, and every tensor that was used on it.
   *
   * @param handle the `cudaStream_t`; 0 is the default stream.
   * @throws DispatchLayoutError `TENSOR` if it is not a 64-bit address.
   */
  static fromHandle(handle: bigint): Stream {
    if (typeof handle !== 'bigint' || handle !== BigInt.asUintN(64, handle)) {
      throw wrongValue('TENSOR', 'the handle of the stream', handle, 'Pass a cudaStream_t, as a bigint.');
    }
    return handle === 0n ? Stream.default : new Stream(cudaAddon().wrapStream(handle));
  }

  /** CUDA's default stream. */
  static get default(): Stream {
    defaultStream ??= new Stream(defaultStreamHandle());
    return defaultStream;
  }

  /** The stream that orders tensors and layouts here: that of the innermost `run`, else the default stream. */
  static get current(): Stream {
    return (innermostStream() as Stream | undefined) ?? Stream.default;
  }

  /** The `cudaStream_t`, for other libraries in this process. */
  get handle(): bigint {
    return addonInUse().streamHandle(this.native);
  }

  /** Calls `action` with this stream as the current one, also after its `await`s, and returns its result. */
  run<Result>(action: () => Result): Result {
    return runOn(this, action);
  }

  /**
   * Records an event behind everything that is queued here so far, to wait for or to pass as `previousEvent`.
   *
   * @throws {@link CudaError}
   */
  record(): EventOverlap {
    return new EventOverlap(new StreamEvent(addonInUse().recordEvent(this.native)));
  }

  /**
   * Blocks the calling thread until everything queued here has finished.
   *
   * @throws {@link CudaError} also if the work itself has failed.
   */
  synchronize(): void {
    addonInUse().synchronizeStream(this.native);
  }

  /** Does the same without blocking: the promise resolves when everything that is queued here so far has finished. */
  async wait(): Promise<void> {
    await this.record().wait();
  }
}
