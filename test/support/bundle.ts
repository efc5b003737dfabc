/**
 * Bundles by esbuild of modules that import the library by its name.
 *
 * @module
 */
import { type BuildOptions, type BuildResult, build } from 'esbuild';
import { root } from './root.ts';

/** Bundles a module with this text, as if it were in the root of the repository. Nothing is written to the disk. */
export function bundle(
  contents: string,
  options: BuildOptions,
): Promise<BuildResult<{ readonly write: false; readonly metafile: true }>> {
  return build({
    stdin: { contents, resolveDir: root },
    bundle: true,
    format: 'esm',
    logLevel: 'silent',
    absWorkingDir: root,
    ...options,
    metafile: true,
    write: false,
  });
}
