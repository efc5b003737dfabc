/**
 * Checks of the packed tarball itself, and of an empty project that has installed it.
 *
 * @module
 */
import { mkdtemp, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './commands.mjs';

const inPackage = (path) => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url));

/** 16 tokens, one per expert: as a program that says the device and the tokens of each rank. */
const program = `const ids = Array.from({ length: 16 }, (_, id) => [id]);
const { device, numTokensPerRank } = getDispatchLayout(ids, 16, { numRanks: 4 });
console.log(device, numTokensPerRank.join(' '));`;
const printed = 'wasm 4 4 4 4\n';

const typedProgram = `
const layout: DispatchLayout = getDispatchLayout([[0, 5]], 8, { numRanks: 4 });
export const counts: Int32Array = layout.numTokensPerRank;
export const device: 'cuda' | 'wasm' | 'js' = layout.device;
export const tensor: typeof DeviceTensor = DeviceTensor;
// @ts-expect-error: a typing mistake is one
layout.numTokensPerrank;
`;

/** Each check by name: it throws where something is wrong. */
export function packageChecks(project, folder, tarball) {
  return {
    'publint --strict': () =>
      run(process.execPath, [inPackage('publint/src/cli.js'), '--strict', tarball], { cwd: folder }),

    // It is an ES module for all, which every Node.js from 20.19 on can require; the kernel is no module
    '@arethetypeswrong/cli': () =>
      run(
        process.execPath,
        [
          inPackage('@arethetypeswrong/cli/dist/index.js'),
          tarball,
          '--profile',
          'esm-only',
          '--exclude-entrypoints',
          'kernel.wasm',
        ],
        {
          cwd: folder,
        },
      ),

    'import in an ES module': () =>
      inNode(project, 'esm.mjs', `import { getDispatchLayout } from 'dispatch-layout';\n${program}`),

    'require in CommonJS': () =>
      inNode(project, 'commonjs.cjs', `const { getDispatchLayout } = require('dispatch-layout');\n${program}`),

    'TypeScript, nodenext': () =>
      checkTypes(folder, project, 'nodenext', {
        'module.ts': `import { type DispatchLayout, getDispatchLayout } from 'dispatch-layout';
import { DeviceTensor } from 'dispatch-layout/cuda';${typedProgram}`,
        'common.cts': `import library = require('dispatch-layout');
import type { DispatchLayout } from 'dispatch-layout' with { 'resolution-mode': 'import' };
import cuda = require('dispatch-layout/cuda');
const { getDispatchLayout } = library;
const { DeviceTensor } = cuda;${typedProgram}`,
      }),

    'TypeScript, bundler': () =>
      checkTypes(folder, project, 'bundler', {
        'module.ts': `import { type DispatchLayout, getDispatchLayout } from 'dispatch-layout';
import { DeviceTensor } from 'dispatch-layout/cuda';${typedProgram}`,
      }),

    'the command line by npx': async () => {
      const output = await run('npx', ['--no', '--', 'dispatch-layout', 'doctor', '--json'], { cwd: project });
      const { devices } = JSON.parse(output);
      if (!devices.some(({ device, chosen }) => device === 'wasm' && chosen)) throw new Error(output);
    },
  };
}

async function inNode(project, name, text) {
  await writeFile(join(project, name), text);
  const output = await run(process.execPath, [name], { cwd: project });
  if (output !== printed) throw new Error(`it printed ${output}`);
}

/** Checks files that use the package, and the package's own declarations, as strictly as TypeScript can. */
async function checkTypes(folder, project, resolution, files) {
  const target = await mkdtemp(join(folder, `types-${resolution}-`));
  await symlink(join(project, 'node_modules'), join(target, 'node_modules'));
  await writeFile(join(target, 'package.json'), JSON.stringify({ type: 'module' }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(target, name), text);
  const compilerOptions = {
    module: resolution === 'bundler' ? 'esnext' : resolution,
    moduleResolution: resolution,
    target: 'es2022',
    lib: ['es2022'],
    types: [],
    strict: true,
    noEmit: true,
    skipLibCheck: false,
  };
  await writeFile(join(target, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  await run(process.execPath, [inPackage('typescript/bin/tsc'), '-p', target], { cwd: target });
}
