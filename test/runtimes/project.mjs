/**
 * Makes the project that the matrix runs: an empty project in which the packed tarball is installed, with the suite as
 * one module.
 *
 * @module
 */
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { run } from './commands.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const here = fileURLToPath(new URL('.', import.meta.url));
const ourLoader = join(here, 'loader.ts');

/** Packs the library into `folder` as npm publishes it, and returns the tarball. */
export async function packLibrary(folder) {
  const [{ filename }] = JSON.parse(await run('npm', ['pack', '--json', '--pack-destination', folder], { cwd: root }));
  return join(folder, filename);
}

/** Makes an empty project in `folder` and installs the tarball there. */
export async function makeProject(folder, tarball) {
  await mkdir(folder);
  await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline', tarball], {
    cwd: folder,
  });
}

/** Writes the suite, and the programs in `programs/` that run it, into the project. They import the library by its name. */
export async function addSuite(folder) {
  await build({
    entryPoints: [join(here, 'suite.ts')],
    outfile: join(folder, 'suite.js'),
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    target: 'es2022',
    external: ['dispatch-layout'],
    logLevel: 'warning',
    plugins: [
      {
        name: 'loader',
        setup({ onResolve }) {
          onResolve({ filter: /^\.\/loader\.ts$/ }, () => ({ path: ourLoader }));
        },
      },
    ],
  });
  await cp(join(here, 'programs'), folder, { recursive: true });
}
