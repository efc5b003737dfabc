/**
 * What esbuild makes of a module that imports the library by its name.
 *
 * @module
 */
import { type BuildOptions, type BuildResult, build } from 'esbuild';
import { root } from './root.ts';

/** Bundles a module of this text, as if it lay in the root of the repository. Nothing is written. */
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
