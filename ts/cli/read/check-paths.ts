/**
 * Checks the paths that a command is given before it reads any of them.
 *
 * @module
 */
import { realpathSync } from 'node:fs';
import { fail } from '../fail.ts';

/** The paths of the flags. */
interface Paths {
  readonly placement?: string;
  readonly out?: string;
}

/**
 * Refuses two files that are both standard input, and an `--out` that would overwrite an input.
 *
 * @param path the routing file.
 */
export function checkPaths(path: string, { placement, out }: Paths): void {
  if (path === '-' && placement === '-') fail('FILE and --placement cannot both be standard input');
  if (out === undefined) return;
  if (out === '-') fail('--out takes the name of a file; the report goes to standard output');
  for (const input of [path, placement]) {
    if (input !== undefined && input !== '-' && isSameFile(out, input)) {
      fail(`--out ${out} would overwrite the input; choose another name`);
    }
  }
}

function isSameFile(left: string, right: string): boolean {
  const resolve = (path: string): string | null => {
    try {
      return realpathSync(path);
    } catch {
      // A file that is missing or cannot be reached is taken for a different one. If it is needed, reading or writing
      // it fails and says why.
      return null;
    }
  };
  const resolved = resolve(left);
  return resolved !== null && resolved === resolve(right);
}
