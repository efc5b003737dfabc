/**
 * Tensors in the memory of the GPU.
 *
 * @module
 */
import type { DeviceName } from '../../errors/availability.ts';
import { checkAttached, checkOptions, wrongValue } from '../../errors/checks.ts';
import { DispatchLayoutError } from '../../errors/errors.ts';
import { type GpuTensor, tensorBrand } from '../../layout/tensors.ts';
import { describe } from '../../values/describe.ts';
import {
  type IdType,
  type IntegerArray,
  idArrayNames,
  idTypeNames,
  idTypeOf,
  idTypes,
  isIdType,
  type TypedArrayOf,
} from '../../values/id-types.ts';
import { denseStrides, reachOf, sizeOf } from '../../values/shape.ts';
import { typedArrayName } from '../../values/typed-array.ts';
import type { CudaAddon, DownloadHandle, FoundMemory, NativePlace } from './addon.ts';
import { currentGpu, currentStreamHandle } from './current-stream.ts';
import type { IdCheck } from './id-check.ts';
import { addonInUse, cudaAddon, type Gpu, gpuAt, gpuNamed } from './runtime.ts';
import { SharedAllocation } from './shared-allocation.ts';
import { Stream } from './stream.ts';
import { untilDone } from './until-done.ts';

/** The element type of a typed array. */
export type TypeOf<Data extends IntegerArray> = {
  [Type in IdType]: Data extends TypedArrayOf[Type] ? Type : never;
}[IdType];

/** What only views need. */
interface ViewOptions {
  readonly strides?: readonly number[];
  readonly origin?: DeviceTensor;
  readonly isBorrowed?: boolean;
}

/** Options of a new tensor. */
export interface AllocationOptions {
  /**
   * Whether {@link DeviceTensor.ipcHandle} is wanted. Such memory does not come from the pool, and allocating it is
   * slower.
   */
  readonly shareable?: boolean | undefined;
  /** The GPU, such as `cuda:1`. Default: that of the current stream, which outside of `stream.run` is the first one. */
  readonly device?: DeviceName | undefined;
}

/** Options of a tensor in the memory of another process. */
export interface IpcOptions {
  /** The number of bytes from the address that the handle stands for to the tensor. Default 0. */
  readonly byteOffset?: number | undefined;
  /** The GPU that the memory is on. Default: that of the current stream. */
  readonly device?: DeviceName | undefined;
}

const allocationOptions: Readonly<Record<keyof AllocationOptions, true>> = { shareable: true, device: true };
const ipcOptions: Readonly<Record<keyof IpcOptions, true>> = { byteOffset: true, device: true };

/**
 * A tensor of integers on the GPU; only views made by {@link strided} are not row-major. Its memory comes from a pool
 * and is ordered by streams: it is allocated, filled and copied on the current {@link Stream} of its GPU. As in PyTorch, work on
 * *another* stream must be ordered by an event, and must be made known by {@link recordStream} if the tensor may be
 * disposed of before that work ends. Layouts do both themselves.
 *
 * ```ts
 * import { getDispatchLayout } from 'dispatch-layout';
 * import { DeviceTensor } from 'dispatch-layout/cuda';
 *
 * using topkIdx = DeviceTensor.from(new BigInt64Array(4096 * 8), [4096, 8]);
 * const layout = getDispatchLayout(topkIdx, 256, { numRanks: 8 }); // DeviceTensors, nothing waits
 * const counts = await layout.numTokensPerRank.toTypedArrayAsync();
 * console.log(counts.join(' ')); // 4096 0 0 0 0 0 0 0
 * ```
 */
export class DeviceTensor<Type extends IdType = IdType> implements GpuTensor {
  /** The element type. */
  readonly dtype: Type;
  /** The lengths of its dimensions. */
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly size: number;
  /** The bytes of all elements. */
  readonly byteLength: number;
  /** For each dimension, the number of elements from one index to the next. */
  readonly strides: readonly number[];
  /** @internal */
  readonly [tensorBrand] = true;
  readonly #byteOffset: number;
  #memory: SharedAllocation | undefined;
  #check: IdCheck | undefined;
  /** The tensor that this is a view of. */
  readonly #origin: DeviceTensor | undefined;
  /**
   * Whether this is a view that holds no reference to the memory. The memory is then given up together with its
   * origin's.
   */
  readonly #isBorrowed: boolean;

  /** @internal Use the static methods. */
  constructor(
    memory: SharedAllocation,
    byteOffset: number,
    shape: readonly number[],
    dtype: Type,
    options: ViewOptions = {},
  ) {
    if (!(memory instanceof SharedAllocation)) {
      const remedy = 'Use DeviceTensor.from, empty, fromPointer or fromIpcHandle.';
      throw wrongValue('TENSOR', 'the first argument of new DeviceTensor', memory, remedy);
    }
    const { strides = denseStrides(shape), origin, isBorrowed = false } = options;
    this.dtype = dtype;
    // They are frozen because the addon trusts them
    this.shape = Object.freeze(shape);
    this.strides = Object.freeze(strides);
    this.size = sizeOf(shape);
    this.byteLength = this.size * idTypes[dtype].bytes;
    this.#byteOffset = byteOffset;
    this.#memory = isBorrowed ? memory : memory.retain();
    this.#origin = origin;
    this.#isBorrowed = isBorrowed;
  }

  /**
   * Makes a new tensor, whose elements have arbitrary values.
   *
   * @throws DispatchLayoutError `TENSOR`, `CAPTURE`; `OUT_OF_MEMORY` and `CUDA_ERROR` as {@link CudaError}
   * @throws DeviceUnavailableError if there is no CUDA here, or no such GPU.
   */
  static empty<Type extends IdType>(
    shape: readonly number[],
    dtype: Type,
    options: AllocationOptions = {},
  ): DeviceTensor<Type> {
    const { shareable = false, device } = checkOptions(options, allocationOptions, 'TENSOR');
    const size = checkShape(shape);
    const length = size * checkType(dtype);
    const gpu = gpuForNew(device);
    const handle = cudaAddon().allocate(length, currentStreamHandle(gpu), shareable === true);
    return new DeviceTensor(new SharedAllocation(handle, gpu), 0, [...shape], dtype);
  }

  /**
   * Makes a tensor with the elements of a typed array. The array may change as soon as this returns.
   *
   * @param shape default: one dimension.
   * @throws the errors of {@link DeviceTensor.empty}, `DETACHED_BUFFER`
   */
  static from<Data extends IntegerArray>(
    array: Data,
    shape?: readonly number[],
    options: AllocationOptions = {},
  ): DeviceTensor<TypeOf<Data>> {
    const dtype = idTypeOf(array)?.name;
    if (dtype === undefined) {
      throw tensorError(`the elements are ${describe(array)}`, array, `Pass one of ${idArrayNames}.`);
    }
    checkAttached(array, 'the array');
    const ownShape = shape ?? [array.length];
    if (checkShape(ownShape) !== array.length) {
      throw tensorError(
        `shape ${describe(shape)} is not that of ${array.length} elements`,
        shape,
        'Correct the shape.',
      );
    }
    const tensor = DeviceTensor.empty(ownShape, dtype as TypeOf<Data>, options);
    try {
      const { handle, gpu } = tensor.allocation;
      addonInUse().upload(handle, 0, array, currentStreamHandle(gpu));
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    return tensor;
  }

  /**
   * Makes a row-major tensor of GPU memory that other code in this process owns. The memory must stay allocated until
   * the last use of this tensor is over. The driver knows on which GPU it is.
   *
   * @throws DispatchLayoutError `TENSOR` for an address that is misaligned, or behind which CUDA does not know as much
   *   memory as the tensor has; {@link CudaError}
   */
  static fromPointer<Type extends IdType>(pointer: bigint, shape: readonly number[], dtype: Type): DeviceTensor<Type> {
    const length = checkShape(shape) * checkType(dtype);
    const isAddress = typeof pointer === 'bigint' && pointer === BigInt.asUintN(64, pointer);
    if (!isAddress || pointer % BigInt(idTypes[dtype].bytes) !== 0n) {
      throw wrongValue('TENSOR', 'the pointer', pointer, `Pass an address, as a bigint, aligned for ${dtype}.`);
    }
    // In PyTorch, as here, a tensor without elements has no address that CUDA knows
    if (length === 0) return DeviceTensor.empty(shape, dtype);
    const memory = cudaAddon().wrapPointer(currentGpu().ordinal, pointer, length);
    if (memory.bytes === 0) {
      throw tensorError(
        `0x${pointer.toString(16)} is no memory that CUDA knows`,
        pointer,
        'Pass the address of device memory of this process; that of another process goes through fromIpcHandle.',
      );
    }
    return new DeviceTensor(foundMemory(memory, length, 0, shape), 0, [...shape], dtype);
  }

  /**
   * Makes a tensor of memory of another process, by CUDA inter-process communication. That process must keep the
   * memory, and must order its writes before this process's reads, by an event or by synchronising before it sends the
   * handle.
   *
   * @param handle the 64 bytes of a `cudaIpcMemHandle_t`, or the 66 bytes that PyTorch makes of one.
   * @throws DispatchLayoutError `TENSOR` also if the memory is smaller than the tensor, or on another GPU;
   *   {@link CudaError}
   */
  static fromIpcHandle<Type extends IdType>(
    handle: Uint8Array,
    shape: readonly number[],
    dtype: Type,
    options: IpcOptions = {},
  ): DeviceTensor<Type> {
    const { byteOffset = 0, device } = checkOptions(options, ipcOptions, 'TENSOR');
    const elementBytes = checkType(dtype);
    const length = checkShape(shape) * elementBytes;
    if (typedArrayName(handle) === 'Uint8Array' && isOfExpandableSegments(handle)) {
      throw tensorError(
        'PyTorch has this memory in expandable segments, which CUDA cannot share by such a handle',
        handle,
        'Start the producer without expandable_segments:True in PYTORCH_CUDA_ALLOC_CONF, or let it copy the tensor to memory of cudaMalloc.',
      );
    }
    const plain = typedArrayName(handle) === 'Uint8Array' ? plainIpcHandle(handle) : undefined;
    if (plain === undefined) {
      throw wrongValue('TENSOR', 'the IPC handle', handle, 'Pass the 64 bytes of a cudaIpcMemHandle_t.');
    }
    if (!Number.isSafeInteger(byteOffset) || byteOffset < 0 || byteOffset % elementBytes !== 0) {
      throw wrongValue('TENSOR', 'byteOffset', byteOffset, `It must be a multiple of ${elementBytes}.`);
    }
    const gpu = gpuForNew(device);
    const memory = cudaAddon().openIpcHandle(gpu.ordinal, plain, byteOffset + length);
    if (memory.ordinal !== gpu.ordinal) {
      const { name } = gpuAt(memory.ordinal);
      throw tensorError(
        `the memory is on '${name}', and was opened for '${gpu.name}'`,
        handle,
        `Pass device: '${name}'.`,
      );
    }
    return new DeviceTensor(foundMemory(memory, length, byteOffset, shape), byteOffset, [...shape], dtype);
  }

  /**
   * Makes a view of this tensor's memory, for instance of some columns of wider rows. Layouts take it as `topkIdx` if
   * the ids of each token are contiguous. If it is not contiguous, it cannot be copied to the host. The view holds a
   * reference of its own to the memory: dispose of both tensors.
   *
   * @param strides for each dimension, the number of elements from one index to the next.
   * @param offset the element of this tensor at which the view begins.
   * @throws DispatchLayoutError `TENSOR` if it reaches beyond this tensor, `DISPOSED`
   */
  strided(shape: readonly number[], strides: readonly number[], offset = 0): DeviceTensor<Type> {
    const size = checkShape(shape);
    const integers = Array.isArray(strides) && [...strides, offset].every(Number.isSafeInteger);
    if (!integers || strides.length !== shape.length || !this.isContiguous) {
      throw tensorError(
        `the strides are ${describe(strides)}`,
        strides,
        'Give one integer for each dimension, and make the view of a contiguous tensor.',
      );
    }
    const [first, last] = reachOf(shape, strides);
    if (size > 0 && (offset + first < 0 || offset + last >= this.size)) {
      throw tensorError(
        'the view reaches beyond the tensor',
        shape,
        'Correct its shape, strides or offset (in elements).',
      );
    }
    const byteOffset = this.#byteOffset + offset * idTypes[this.dtype].bytes;
    return new DeviceTensor(this.allocation, byteOffset, [...shape], this.dtype, {
      strides: [...strides],
      origin: this,
    });
  }

  /**
   * @internal Makes a view of this contiguous tensor's first elements. It holds no reference of its own to the memory.
   */
  firstElements(shape: readonly number[]): DeviceTensor<Type> {
    return new DeviceTensor(this.allocation, this.#byteOffset, shape, this.dtype, { origin: this, isBorrowed: true });
  }

  /** The GPU that the tensor is on, as a device option: `cuda` for the first one, such as `cuda:1` for another one. */
  get device(): DeviceName {
    return this.allocation.gpu.name;
  }

  /** Whether the elements lie one after the other. */
  get isContiguous(): boolean {
    let expected = 1;
    for (let i = this.shape.length - 1; i >= 0; i--) {
      if (this.shape[i] > 1 && this.strides[i] !== expected) return this.size === 0;
      expected *= this.shape[i];
    }
    return true;
  }

  /** Whether the memory was given up. */
  get isDisposed(): boolean {
    return this.#memory === undefined || (this.#isBorrowed && this.#origin?.isDisposed === true);
  }

  /**
   * The address of the first element on the GPU, for other libraries in this process.
   *
   * @throws DispatchLayoutError `DISPOSED`
   */
  get pointer(): bigint {
    return this.allocation.pointer + BigInt(this.#byteOffset);
  }

  /**
   * The handle with which another process opens this memory, by `cudaIpcOpenMemHandle`.
   *
   * @throws DispatchLayoutError `TENSOR` if the tensor was not made `shareable`, or if it is a view that begins
   *   elsewhere, since a handle stands for the whole memory.
   */
  ipcHandle(): Uint8Array {
    const handle = addonInUse().ipcHandle(this.allocation.handle);
    if (this.#byteOffset !== 0) {
      throw tensorError(
        `this view begins ${this.#byteOffset} bytes into its memory`,
        this,
        'Share the tensor that it is a view of, and tell the other process where the view begins.',
      );
    }
    if (handle !== null) return handle;
    throw tensorError(
      'this memory cannot be shared with other processes',
      this,
      'Make the tensor with { shareable: true }.',
    );
  }

  /**
   * Copies the elements to a new array. This blocks the thread until the current stream has reached the copy.
   *
   * @throws InvalidExpertError if this is the result of a strict layout that has found an invalid id.
   * @throws DispatchLayoutError `DISPOSED`, {@link CudaError}
   */
  toTypedArray(): TypedArrayOf[Type] {
    const addon = addonInUse();
    return this.#finish(addon, this.#download(addon), this.#writer);
  }

  /**
   * Does the same without blocking. The elements are those at the time of the call, in the order of the current stream.
   */
  async toTypedArrayAsync(): Promise<TypedArrayOf[Type]> {
    const addon = addonInUse();
    const download = this.#download(addon);
    const check = this.#writer;
    await untilDone(download);
    return this.#finish(addon, download, check);
  }

  /**
   * Makes known that `stream` uses this tensor. When the tensor is disposed of, its memory is not reused before the
   * work that is then queued on `stream` has finished. This is PyTorch's `record_stream`.
   */
  recordStream(stream: Stream): void {
    if (!(stream instanceof Stream)) throw wrongValue('TENSOR', 'the stream', stream, 'Pass a Stream.');
    addonInUse().recordStream(this.allocation.handle, stream.native);
  }

  /**
   * Gives up the memory. It is reused as soon as the streams that use it have passed this point. `shareable` memory and
   * that of another process are outside the pool: giving them up blocks the thread until the GPU has finished with
   * them, even if it is the garbage collector that does so.
   */
  dispose(): void {
    const memory = this.#memory;
    this.#memory = undefined;
    if (!this.#isBorrowed) memory?.drop();
  }

  /** Gives up the memory. `using tensor = …` does so when the block is left. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal */
  get allocation(): SharedAllocation {
    if (this.#memory !== undefined && !this.isDisposed) return this.#memory;
    throw new DispatchLayoutError('DISPOSED', 'the tensor was disposed of', {
      value: this,
      remedy: 'Dispose of a tensor after its last use.',
    });
  }

  /** @internal */
  get byteOffset(): number {
    return this.#byteOffset;
  }

  /** @internal The place of the tensor, in the form that the addon takes. */
  get place(): NativePlace {
    return { allocation: this.allocation.handle, byteOffset: this.#byteOffset };
  }

  /** @internal The lowest address of an element, and the address behind the highest element. */
  get addresses(): readonly [bigint, bigint] {
    const bytes = idTypes[this.dtype].bytes;
    const [first, last] = reachOf(this.shape, this.strides);
    return [this.pointer + BigInt(first * bytes), this.pointer + BigInt((last + 1) * bytes)];
  }

  /** @internal Records the check of the layout that writes this tensor. */
  writtenBy(check: IdCheck | undefined): void {
    if (this.#isBorrowed) this.#origin?.writtenBy(check);
    else this.#check = check;
  }

  /** The check of the layout that wrote this tensor, or the tensor that it is a view of. */
  get #writer(): IdCheck | undefined {
    return this.#check ?? (this.#origin === undefined ? undefined : this.#origin.#writer);
  }

  #download(addon: CudaAddon): DownloadHandle {
    if (!this.isContiguous) {
      throw tensorError(
        'the elements of this view are not contiguous',
        this.strides,
        'Copy the tensor that it is a view of.',
      );
    }
    const { handle, gpu } = this.allocation;
    return addon.download(handle, this.#byteOffset, this.byteLength, currentStreamHandle(gpu));
  }

  #finish(addon: CudaAddon, download: DownloadHandle, check: IdCheck | undefined): TypedArrayOf[Type] {
    const array = new idTypes[this.dtype].array(this.size) as TypedArrayOf[Type];
    addon.finishDownload(download, array);
    addon.release(download);
    // The layout can be unfinished only if the caller reads the tensor without waiting for the layout's event
    if (check?.isDone) check.assertValid();
    return array;
  }
}

/** The GPU for something new. */
function gpuForNew(device: DeviceName | undefined): Gpu {
  return device === undefined ? currentGpu() : gpuNamed(device);
}

/**
 * The memory of a tensor that somebody else has allocated.
 *
 * @throws DispatchLayoutError `TENSOR` if the tensor reaches beyond it.
 */
function foundMemory(
  { allocation, ordinal, bytes }: FoundMemory,
  length: number,
  byteOffset: number,
  shape: readonly number[],
): SharedAllocation {
  if (allocation !== null) return new SharedAllocation(allocation, gpuAt(ordinal));
  const where = byteOffset === 0 ? '' : ` from byte ${byteOffset} on`;
  throw tensorError(
    `the tensor has ${length} bytes${where}, and only ${Math.max(0, bytes - byteOffset)} are allocated there`,
    shape,
    'Correct the shape, the type or the address.',
  );
}

/** Whether PyTorch says that the memory is in expandable segments: it then has the letter e where `c` is otherwise. */
function isOfExpandableSegments(handle: Uint8Array): boolean {
  return handle.length !== 64 && handle[1] === 'e'.charCodeAt(0);
}

/**
 * Returns the 64 bytes of a handle. PyTorch puts two bytes before them: a version, and the letter c for memory of
 * `cudaMalloc`.
 */
function plainIpcHandle(handle: Uint8Array): Uint8Array | undefined {
  if (handle.length === 64) return handle;
  return handle.length === 66 && handle[1] === 'c'.charCodeAt(0) ? handle.subarray(2) : undefined;
}

function checkShape(shape: readonly number[]): number {
  if (!Array.isArray(shape) || !shape.every((length) => Number.isSafeInteger(length) && length >= 0)) {
    throw wrongValue('TENSOR', 'the shape', shape, 'It must be an array of lengths, 0 or more.');
  }
  const size = sizeOf(shape);
  // With this bound, and at most eight bytes for each element, every byte offset is a number that is exact
  if (size > 2 ** 48) throw tensorError(`${size} elements are too many`, shape, 'Correct the shape.');
  return size;
}

function checkType(dtype: IdType): number {
  if (isIdType(dtype)) return idTypes[dtype].bytes;
  throw wrongValue('TENSOR', 'the dtype', dtype, `It must be one of ${idTypeNames.join(', ')}.`);
}

function tensorError(problem: string, value: unknown, remedy: string): DispatchLayoutError {
  return new DispatchLayoutError('TENSOR', problem, { value, remedy });
}
