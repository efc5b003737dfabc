/**
 * Runtimes that are a command: Node.js, Bun, Deno. Each comes in an npm package of its own, for Linux on x86-64; nothing is
 * downloaded by scripts.
 *
 * @module
 */
import { existsSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { run } from './commands.mjs';

const inPackage = (path) => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));

const commands = {
  'Node.js 20': { file: inPackage('node20/bin/node'), args: [] },
  'Node.js 22': { file: inPackage('node22/bin/node'), args: [] },
  'Node.js 24': { file: inPackage('node24/bin/node'), args: [] },
  'Node.js 26': { file: inPackage('node26/bin/node'), args: [] },
  Bun: { file: inPackage('bun/bin/bun'), args: ['run'] },
  Deno: { file: inPackage('deno/deno'), args: ['run', '--allow-all', '--no-remote', '--node-modules-dir=manual'] },
};

/** One row of the matrix for each command, on the library as it is installed. */
export function serverRows(project, options) {
  return Object.entries(commands).map(([name, command]) => ({
    name,
    missing: whyMissing(command),
    run: () => runProgram(command, join(project, 'process.mjs'), project, options),
  }));
}

/** A bundle for Node.js with the library inside, run where no package is installed. */
export function nodeBundleRow(project, folder, options) {
  const command = commands['Node.js 20'];
  return {
    name: 'esbuild, Node.js bundle',
    missing: whyMissing(command),
    async run() {
      const empty = await mkdtemp(join(folder, 'node-bundle-'));
      const outfile = join(empty, 'bundle.mjs');
      await build({
        entryPoints: [join(project, 'process.mjs')],
        outfile,
        bundle: true,
        format: 'esm',
        platform: 'node',
        logLevel: 'warning',
      });
      return runProgram(command, outfile, empty, options);
    },
  };
}

function whyMissing({ file }) {
  return existsSync(file) ? undefined : `no ${file}: it is for Linux on x86-64`;
}

async function runProgram({ file, args }, program, cwd, options) {
  const output = await run(file, [...args, program, JSON.stringify(options)], { cwd });
  return JSON.parse(output.trimEnd().split('\n').at(-1));
}
