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
  readonly html?: string;
}

/**
 * Refuses several files that are standard input, and an output that would overwrite an input or the other output.
 *
 * @param paths the routing files.
 */
export function checkPaths(paths: readonly string[], { placement, out, html }: Paths): void {
  const inputs = placement === undefined ? paths : [...paths, placement];
  if (placement === '-' && paths.includes('-')) fail('FILE and --placement cannot both be standard input');
  if (paths.indexOf('-') !== paths.lastIndexOf('-')) fail('only one FILE can be standard input');
  if (out !== undefined && out === html) fail(`--out and --html would both write ${out}; choose another name for one`);
  for (const [flag, path] of [
    ['--out', out],
    ['--html', html],
  ]) {
    if (path === undefined) continue;
    if (path === '-') fail(`${flag} takes the name of a file; the report goes to standard output`);
    for (const input of inputs) {
      if (input !== '-' && isSameFile(path, input)) {
        fail(`${flag} ${path} would overwrite the input; choose another name`);
      }
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
