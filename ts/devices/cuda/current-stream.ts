/**
 * The current stream, which determines the order of work on tensors and of layouts.
 *
 * @module
 */
import type { AsyncLocalStorage } from 'node:async_hooks';
import type { StreamHandle } from './addon.ts';
import { cudaAddon } from './runtime.ts';

/** The part of a stream that matters here. */
interface NativeStream {
  readonly native: StreamHandle;
}

/**
 * Holds the current stream, across `await`s too. It is created by the first use of {@link runOn}, so that nobody else
 * pays for it.
 */
let storage: AsyncLocalStorage<NativeStream> | undefined;
let defaultHandle: StreamHandle | undefined;

/** CUDA's default stream. */
export function defaultStreamHandle(): StreamHandle {
  defaultHandle ??= cudaAddon().wrapStream(0n);
  return defaultHandle;
}

/** The stream of the innermost {@link runOn}; undefined if the default stream is current. */
export function innermostStream(): NativeStream | undefined {
  return storage?.getStore();
}

/** The handle of the current stream. */
export function currentStreamHandle(): StreamHandle {
  return innermostStream()?.native ?? defaultStreamHandle();
}

/** Calls `action` with this stream as the current one, also after its `await`s, and returns its result. */
export function runOn<Result>(stream: NativeStream, action: () => Result): Result {
  if (storage === undefined) {
    const { AsyncLocalStorage } = process.getBuiltinModule('node:async_hooks');
    storage = new AsyncLocalStorage<NativeStream>();
  }
  return storage.run(stream, action);
}
