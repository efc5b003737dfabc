/**
 * The current stream of each GPU, which determines the order of work on tensors and of layouts.
 *
 * @module
 */
import type { AsyncLocalStorage } from 'node:async_hooks';
import type { StreamHandle } from './addon.ts';
import { cudaAddon, defaultGpu, type Gpu, useGpu } from './runtime.ts';

/** The part of a stream that matters here. */
interface NativeStream {
  readonly native: StreamHandle;
  readonly gpu: Gpu;
}

/** A stream that was made current, within another one or not. */
interface Scope {
  readonly stream: NativeStream;
  readonly outer: Scope | undefined;
}

/**
 * Holds the current stream, across `await`s too. It is created by the first use of {@link runOn}, so that nobody else
 * pays for it.
 */
let storage: AsyncLocalStorage<Scope> | undefined;
const defaultHandles: StreamHandle[] = [];

/** CUDA's default stream on a GPU. */
export function defaultStreamHandle(gpu: Gpu): StreamHandle {
  const { ordinal } = gpu;
  if (defaultHandles[ordinal] === undefined) {
    defaultHandles[ordinal] = cudaAddon().wrapStream(ordinal, 0n);
    useGpu(gpu);
  }
  return defaultHandles[ordinal];
}

/** The stream of the innermost {@link runOn}; undefined if a default stream is current. */
export function innermostStream(): NativeStream | undefined {
  return storage?.getStore()?.stream;
}

/** The GPU on which new tensors and streams are made: that of the innermost {@link runOn}, else the default one. */
export function currentGpu(): Gpu {
  return innermostStream()?.gpu ?? defaultGpu();
}

/** The handle of the current stream of a GPU: that of the innermost {@link runOn} with a stream of this GPU. */
export function currentStreamHandle(gpu: Gpu): StreamHandle {
  let scope = storage?.getStore();
  while (scope !== undefined && scope.stream.gpu !== gpu) scope = scope.outer;
  return scope?.stream.native ?? defaultStreamHandle(gpu);
}

/** Calls `action` with this stream as the current one, also after its `await`s, and returns its result. */
export function runOn<Result>(stream: NativeStream, action: () => Result): Result {
  if (storage === undefined) {
    const { AsyncLocalStorage } = process.getBuiltinModule('node:async_hooks');
    storage = new AsyncLocalStorage<Scope>();
  }
  return storage.run({ stream, outer: storage.getStore() }, action);
}
