/**
 * Checks of the packed tarball itself, and of an empty project in which it is installed.
 *
 * @module
 */
import { readFileSync } from 'node:fs';
import { mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './commands.mjs';

const inPackage = (path) => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));

/** A program that computes a layout of 16 tokens, one per expert, and prints the device and the tokens of each rank. */
const program = `const ids = Array.from({ length: 16 }, (_, id) => [id]);
const { device, numTokensPerRank } = getDispatchLayout(ids, 16, { numRanks: 4 });
console.log(device, numTokensPerRank.join(' '));`;
const printed = 'wasm 4 4 4 4\n';

const imported = `import { type DispatchLayout, getDispatchLayout } from 'dispatch-layout';
import { DeviceTensor } from 'dispatch-layout/cuda';`;
const required = `import library = require('dispatch-layout');
import cuda = require('dispatch-layout/cuda');
import type { DispatchLayout } from 'dispatch-layout';
const { getDispatchLayout } = library;
const { DeviceTensor } = cuda;`;

const typedProgram = `
const layout: DispatchLayout = getDispatchLayout([[0, 5]], 8, { numRanks: 4 });
export const counts: Int32Array = layout.numTokensPerRank;
export const device: 'cuda' | \`cuda:\${number}\` | 'wasm' | 'js' = layout.device;
export const tensor: typeof DeviceTensor = DeviceTensor;
// @ts-expect-error: the misspelt name must be an error
layout.numTokensPerrank;
`;

/** A program of an ES module and a CommonJS module, of which one uses a class from the other. */
const mixed = {
  'module.ts': `${imported}
import { tensor as required } from './common.cjs';
${typedProgram}
export const same: typeof DeviceTensor = required;`,
  'common.cts': required + typedProgram,
};
const module = { 'module.ts': imported + typedProgram };

/** The ways in which programs find the package, from the oldest supported version of TypeScript to the newest. */
const compilers = [
  ['typescript-5.0', { node16: mixed, nodenext: mixed, bundler: module, node10: module }],
  ['typescript-5.4', { node16: mixed, bundler: module, node10: module }],
  ['typescript-5.9', { node16: mixed, nodenext: mixed, bundler: module, node10: module }],
  ['typescript', { node16: mixed, nodenext: mixed, bundler: module }],
];

/** The checks by name. Each returns a promise that rejects if something is wrong. */
export function packageChecks(project, folder, tarball) {
  return {
    'publint --strict': () =>
      run(process.execPath, [inPackage('publint/src/cli.js'), '--strict', tarball], { cwd: folder }),

    // The kernel and the page are no JavaScript.
    '@arethetypeswrong/cli': () =>
      run(
        process.execPath,
        [
          inPackage('@arethetypeswrong/cli/dist/index.js'),
          tarball,
          '--profile',
          'strict',
          '--exclude-entrypoints',
          'kernel.wasm',
          'order.wasm',
          'report.html',
        ],
        {
          cwd: folder,
        },
      ),

    'import in an ES module': () =>
      inNode(project, 'esm.mjs', `import { getDispatchLayout } from 'dispatch-layout';\n${program}`),

    'require in CommonJS': () =>
      inNode(project, 'commonjs.cjs', `const { getDispatchLayout } = require('dispatch-layout');\n${program}`),

    'require in CommonJS, without require(esm)': () =>
      inNode(project, 'commonjs.cjs', `const { getDispatchLayout } = require('dispatch-layout');\n${program}`, [
        '--no-experimental-require-module',
      ]),

    'import with frozen intrinsics': () =>
      inNode(project, 'esm.mjs', `import { getDispatchLayout } from 'dispatch-layout';\n${program}`, [
        '--frozen-intrinsics',
      ]),

    ...Object.fromEntries(
      compilers.flatMap(([compiler, resolutions]) =>
        Object.entries(resolutions).map(([resolution, files]) => [
          `TypeScript ${versionOf(compiler)}, ${resolution}`,
          () => checkTypes(folder, project, compiler, resolution, files),
        ]),
      ),
    ),

    'the command line by npx': async () => {
      const output = await run('npx', ['--no', '--', 'dispatch-layout', 'doctor', '--json'], { cwd: project });
      const { devices } = JSON.parse(output);
      if (!devices.some(({ device, chosen }) => device === 'wasm' && chosen)) throw new Error(output);
    },
  };
}

async function inNode(project, name, text, flags = []) {
  await writeFile(join(project, name), text);
  const output = await run(process.execPath, [...flags, name], { cwd: project });
  if (output !== printed) throw new Error(`it printed ${output}`);
}

function versionOf(compiler) {
  return JSON.parse(readFileSync(inPackage(`${compiler}/package.json`), 'utf8')).version;
}

/** Checks files that use the package, and the declarations of the package itself, as strictly as TypeScript can. */
async function checkTypes(folder, project, compiler, resolution, files) {
  const target = await mkdtemp(join(folder, `types-${resolution}-`));
  await symlink(join(project, 'node_modules'), join(target, 'node_modules'));
  await writeFile(
    join(target, 'package.json'),
    JSON.stringify({ type: resolution === 'node10' ? 'commonjs' : 'module' }),
  );
  for (const [name, text] of Object.entries(files)) await writeFile(join(target, name), text);
  const compilerOptions = {
    module: { bundler: 'esnext', node10: 'commonjs' }[resolution] ?? resolution,
    moduleResolution: resolution,
    target: 'es2022',
    lib: ['es2022'],
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noEmit: true,
    skipLibCheck: false,
  };
  await writeFile(join(target, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  const program = compiler === 'typescript' ? 'bin/tsc' : 'lib/tsc.js';
  await run(process.execPath, [inPackage(`${compiler}/${program}`), '-p', target], { cwd: target });
}
