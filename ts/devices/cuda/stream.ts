/**
 * CUDA streams: queues of work on the GPU, one of which is current.
 *
 * @module
 */
import type { DeviceName } from '../../errors/availability.ts';
import { checkOptions, wrongValue } from '../../errors/checks.ts';
import { EventOverlap } from '../../layout/event-overlap.ts';
import type { StreamHandle } from './addon.ts';
import { currentGpu, defaultStreamHandle, innermostStream, runOn } from './current-stream.ts';
import { StreamEvent } from './events.ts';
import { addonInUse, cudaAddon, defaultGpu, type Gpu, gpuAt, gpuNamed, useGpu } from './runtime.ts';

/** The default streams, by ordinal. */
const defaultStreams: Stream[] = [];

/** Options of a stream. */
export interface StreamOptions {
  /** The GPU of the stream. Default: that of the current stream. */
  readonly device?: DeviceName | undefined;
}

const streamOptions: Readonly<Record<keyof StreamOptions, true>> = { device: true };

/** What is known of a stream that exists. */
interface ExistingStream {
  readonly native: StreamHandle;
  readonly gpu: Gpu;
}

/** Handles up to this one stand for the default streams of whichever GPU is current. */
const lastDefaultHandle = 2n;

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
  /** @internal */
  readonly gpu: Gpu;

  /**
   * Makes a new stream, which is independent of the default stream. It is destroyed when it is no longer used, and work
   * that is queued on it by then still runs to its end.
   *
   * @throws DeviceUnavailableError if there is no CUDA here, or no such GPU; {@link CudaError}
   * @throws DispatchLayoutError `TENSOR` for a wrong option.
   */
  constructor(options?: StreamOptions);
  /** @internal */
  constructor(options: StreamOptions, existing: ExistingStream);
  constructor(options: StreamOptions = {}, existing?: ExistingStream) {
    if (typeof options !== 'object' || options === null) {
      throw wrongValue('TENSOR', 'the argument of new Stream', options, 'Use Stream.fromHandle for a cudaStream_t.');
    }
    const { device } = checkOptions(options, streamOptions, 'TENSOR');
    this.gpu = existing?.gpu ?? (device === undefined ? currentGpu() : gpuNamed(device));
    this.native = existing?.native ?? cudaAddon().createStream(this.gpu.ordinal);
    useGpu(this.gpu);
  }

  /**
   * Wraps a stream that other code made, such as PyTorch's `torch.cuda.current_stream().cuda_stream` within one
   * process. The stream must exist for as long as this object does, and every tensor that was made on it or recorded for
   * it.
   *
   * @param handle the `cudaStream_t`; 0 is the default stream.
   * @param options `device`: the GPU. The driver knows it of every stream but the default ones.
   * @throws DispatchLayoutError `TENSOR` if it is not a 64-bit address, or if it is a stream of another GPU.
   */
  static fromHandle(handle: bigint, options: StreamOptions = {}): Stream {
    if (typeof handle !== 'bigint' || handle !== BigInt.asUintN(64, handle)) {
      throw wrongValue('TENSOR', 'the handle of the stream', handle, 'Pass a cudaStream_t, as a bigint.');
    }
    const { device } = checkOptions(options, streamOptions, 'TENSOR');
    const wanted = device === undefined ? undefined : gpuNamed(device);
    if (handle === 0n) return defaultStreamOf(wanted ?? currentGpu());
    const addon = cudaAddon();
    const asked = wanted ?? currentGpu();
    const ordinal = handle <= lastDefaultHandle ? asked.ordinal : addon.ordinalOfStream(asked.ordinal, handle);
    if (ordinal < 0) {
      throw wrongValue(
        'TENSOR',
        'the handle of the stream',
        handle,
        "It belongs to a context of its own: pass a stream of the GPU's primary context, which the CUDA runtime uses.",
      );
    }
    const gpu = gpuAt(ordinal);
    if (wanted !== undefined && wanted !== gpu) {
      throw wrongValue('TENSOR', 'device', device, `The stream is one of '${gpu.name}'.`);
    }
    return new Stream({}, { native: addon.wrapStream(gpu.ordinal, handle), gpu });
  }

  /**
   * CUDA's default stream on the first GPU, or on the one that `DISPATCH_LAYOUT_DEVICE` names. That of another GPU is
   * `Stream.fromHandle(0n, { device: 'cuda:1' })`.
   */
  static get default(): Stream {
    return defaultStreamOf(defaultGpu());
  }

  /** The stream that orders tensors and layouts here: that of the innermost `run`, else the default stream. */
  static get current(): Stream {
    return (innermostStream() as Stream | undefined) ?? Stream.default;
  }

  /** The GPU of the stream, as a device option: `cuda` for the first one that can be used, `cuda:1` for another one. */
  get device(): DeviceName {
    return this.gpu.name;
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
    return new EventOverlap(new StreamEvent(addonInUse().recordEvent(this.native), this.gpu));
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

function defaultStreamOf(gpu: Gpu): Stream {
  defaultStreams[gpu.ordinal] ??= new Stream({}, { native: defaultStreamHandle(gpu), gpu });
  return defaultStreams[gpu.ordinal];
}
