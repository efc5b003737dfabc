/**
 * The other library in the process that uses the same CUDA runtime: `test/cuda-fake/other_library.cpp`, built with the
 * fake runtime or with CUDA. Handles and addresses are bigints.
 *
 * @module
 */
import { createRequire } from 'node:module';

export type CaptureMode = 'global' | 'threadLocal' | 'relaxed';

/** What the other library exports, as far as the tests use it. */
export interface OtherLibrary {
  /** A blocking stream is ordered with the default stream. */
  createStream(isBlocking: boolean): bigint;
  destroyStream(stream: bigint): void;
  synchronizeStream(stream: bigint): void;
  /** Keeps a stream busy. */
  sleepOnStream(stream: bigint, milliseconds: number): void;
  beginCapture(stream: bigint, mode: CaptureMode): void;
  captureStatus(stream: bigint): string;
  endCapture(stream: bigint): bigint;
  launchGraph(graph: bigint, stream: bigint): void;
  destroyGraph(graph: bigint): void;
  malloc(bytes: number): bigint;
  write(pointer: bigint, data: ArrayBufferView): void;
  copyOnStream(target: bigint, source: bigint, bytes: number, stream: bigint): void;
}

/** The other library; undefined if the tests were started without it. */
export function loadOtherLibrary(): OtherLibrary | undefined {
  const path = process.env.DISPATCH_LAYOUT_TEST_OTHER_LIBRARY;
  return path === undefined ? undefined : createRequire(import.meta.url)(path);
}
