/**
 * The addon with the fake CUDA runtime.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { root } from '../support/root.ts';

let built: string | undefined;

/** The path of the addon. If it is missing or old, it is built, which takes only g++ and a few seconds. */
export function fakeAddon(): string {
  if (built === undefined) {
    execFileSync(`${root}test/cuda-fake/build.sh`, { stdio: ['ignore', 'ignore', 'inherit'] });
    built = `${root}build/cuda-fake/dispatch_layout_cuda.node`;
  }
  return built;
}

/** The path of another library that uses the same fake runtime (`test/cuda-fake/other_library.cpp`). */
export function otherLibrary(): string {
  return fakeAddon().replace(/[^/]*$/, 'other_library.node');
}
