/**
 * The addon over a made-up driver.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { root } from '../support/root.ts';

let built: string | undefined;

/** The path of the addon, which is built where it is missing or old: with g++ alone, in seconds. */
export function fakeAddon(): string {
  if (built === undefined) {
    execFileSync(`${root}test/cuda-fake/build.sh`, { stdio: ['ignore', 'ignore', 'inherit'] });
    built = `${root}build/cuda-fake/dispatch_layout_cuda.node`;
  }
  return built;
}
