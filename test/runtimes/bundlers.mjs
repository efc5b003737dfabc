/**
 * The common bundlers, with as little configuration as possible. They bundle the page of the project and its program
 * for Node.js.
 *
 * @module
 */
import { join } from 'node:path';
import nodeResolve from '@rollup/plugin-node-resolve';
import terser from '@rollup/plugin-terser';
import { build as esbuild } from 'esbuild';
import { rollup } from 'rollup';
import { build as vite } from 'vite';
import webpack from 'webpack';

/**
 * Each function bundles page.js of the project, with everything that it imports, into `target/page.js`. Vite also makes
 * index.html.
 */
export const pageBundlers = {
  async esbuild(project, target) {
    await esbuild({
      entryPoints: [join(project, 'page.js')],
      outdir: target,
      bundle: true,
      minify: true,
      format: 'esm',
      logLevel: 'warning',
    });
  },

  async Rollup(project, target) {
    const bundle = await rollup({
      input: join(project, 'page.js'),
      plugins: [nodeResolve(), terser()],
      onwarn(warning) {
        throw new Error(warning.message);
      },
    });
    await bundle.write({ dir: target, format: 'es' });
    await bundle.close();
  },

  async Vite(project, target) {
    await vite({ root: project, base: './', logLevel: 'error', build: { outDir: target, emptyOutDir: false } });
  },

  async webpack(project, target) {
    await runWebpack({ context: project, entry: './page.js', output: { path: target, filename: 'page.js' } });
  },
};

/**
 * Each function bundles process.mjs of the project, with everything that it imports, into a file in `target`, and
 * returns the file.
 */
export const nodeBundlers = {
  async esbuild(project, target) {
    const outfile = join(target, 'bundle.mjs');
    await esbuild({
      entryPoints: [join(project, 'process.mjs')],
      outfile,
      bundle: true,
      format: 'esm',
      platform: 'node',
      logLevel: 'warning',
    });
    return outfile;
  },

  async webpack(project, target) {
    const output = { path: target, filename: 'bundle.cjs' };
    await runWebpack({ context: project, entry: './process.mjs', target: 'node', output });
    return join(target, output.filename);
  },
};

/** Runs webpack. Warnings count as errors. */
async function runWebpack(configuration) {
  const compiler = webpack({ mode: 'production', performance: { hints: false }, ...configuration });
  const stats = await new Promise((resolve, reject) =>
    compiler.run((error, result) => (error ? reject(error) : resolve(result))),
  );
  await new Promise((resolve) => compiler.close(resolve));
  if (stats.hasErrors() || stats.hasWarnings()) throw new Error(stats.toString('errors-warnings'));
}
