/**
 * Makes the JavaScript of `dist` from the sources: node ts/bundle.mjs
 *
 *   index.cjs, cuda.cjs    the two entries for `require`
 *   index.mjs, cuda.mjs    the same for `import`, with declarations beside them
 *   node.cjs               what these four re-export: all code for Node.js. A process has one copy of it, whether it
 *                          uses `import` or `require`
 *   index.js, cuda.js      the two entries for bundles for Node.js. They are ES modules only
 *   node.js                what these two re-export
 *   placement.js, .cjs     the library of placements, for every runtime, and placement.mjs, which re-exports the second
 *                          for Node.js. They import the library by its name, for its classes of errors
 *   yaml.js, .cjs          the package for YAML, which these import
 *   browser.js, .cjs       for browsers, and for every runtime that is not recognised
 *   edge.js                for Cloudflare workerd and Vercel's edge runtime
 *   routing.cjs, .js       the reader of routing files for Node.js, and routing.mjs, which re-exports the first
 *   routing-browser.js, .cjs   the same for browsers, and for every runtime that is not recognised
 *   report.html            the page of pictures, without data
 *   cli.js                 the command line, with the packages that it needs; it imports index.mjs and placement.mjs
 *   THIRD-PARTY-NOTICES.txt
 */
import { chmod, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { makePage } from '../web/bundle.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
// The files are made here and then moved to `dist`, so that `dist` never contains an incomplete file
const workshop = join(root, 'build', 'bundles');
const dist = join(root, 'dist');

const common = {
  absWorkingDir: root,
  bundle: true,
  legalComments: 'none',
  logLevel: 'warning',
};

/**
 * Source maps refer to the library's own sources by path, since these are in the package. The sources of other packages
 * are not, so the maps contain their text.
 */
const written = { ...common, outdir: workshop, sourcemap: 'linked', metafile: true };

/** Puts the code of the loader, as far as it is needed, into the function that evaluates it. */
const inlineLoader = {
  name: 'inline-loader',
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]wasm[\\/]loader\.ts$/ }, async () => {
      const entry = "export { instantiateSync } from '@assemblyscript/loader'";
      const { outputFiles } = await build({
        ...common,
        stdin: { contents: entry, resolveDir: root },
        format: 'esm',
        minifySyntax: true,
        write: false,
      });
      const code = outputFiles[0].text.replace(/^export (\{\s*instantiateSync\s*\};)/m, 'return $1');
      return { contents: `export function evaluateLoader() {\n${code}}` };
    });
  },
};

/** In the file for edge runtimes, the modules of the kernel stay imports, which the user's bundler compiles. */
const keepKernelImport = {
  name: 'keep-kernel-import',
  setup({ onResolve }) {
    onResolve({ filter: /\.wasm\?module$/ }, ({ path }) => ({ path: `./${path.split('/').at(-1)}`, external: true }));
  },
};

/** The classes of errors are those of the library that the program has, so that `instanceof` holds. */
const importErrors = {
  name: 'import-errors',
  setup({ onResolve }) {
    onResolve({ filter: /[\\/]errors\.ts$/ }, () => ({ path: 'dispatch-layout', external: true }));
  },
};

/** The package for YAML is a file of its own, which a bundler leaves out of programs that read and write no plans. */
const importYaml = (file) => ({
  name: 'import-yaml',
  setup({ onResolve }) {
    onResolve({ filter: /^yaml$/ }, () => ({ path: `./${file}`, external: true }));
  },
});

const placement = "export * from './placement/index.ts';";
const yaml = "export { Document, parse, visit } from 'yaml';";
const api = "export * from './index.ts';";
const cuda = "export * from './devices/cuda/index.ts';";
const routing = "export * from './routing/index.ts';";

/**
 * Bundles the library, and returns what esbuild reports about it: the names of its exports, and the files that it is
 * made of.
 *
 * @param conditions the conditions by which package.json chooses the module that `#platform` stands for.
 */
async function bundle(file, contents, platform, conditions, ...plugins) {
  const [name, extension] = file.split('.');
  const isCommonJs = extension === 'cjs';
  const { metafile } = await build({
    ...written,
    stdin: { contents, resolveDir: join(root, 'ts'), loader: 'ts' },
    entryNames: name,
    outExtension: { '.js': `.${extension}` },
    platform,
    conditions,
    format: isCommonJs ? 'cjs' : 'esm',
    // These are the targets that the documentation promises. Static blocks are left out, since Hermes cannot parse them
    target: ['es2022', 'node20.16', 'safari16.4'],
    supported: { 'class-static-blocks': false },
    define: {
      IS_NODE: String(conditions.includes('node')),
      // CommonJS has `__filename` instead of `import.meta.url`
      ...(isCommonJs && { 'import.meta.url': '__filename' }),
    },
    plugins: [inlineLoader, keepKernelImport, ...plugins],
  });
  return { exports: metafile.outputs[`build/bundles/${file}`].exports, inputs: Object.keys(metafile.inputs) };
}

const [placements, yamls] = await Promise.all([
  bundle('placement.js', placement, 'neutral', ['browser'], importErrors, importYaml('yaml.js')),
  bundle('yaml.js', yaml, 'neutral', ['browser']),
  bundle('placement.cjs', placement, 'node', ['browser'], importErrors, importYaml('yaml.cjs')),
  bundle('yaml.cjs', yaml, 'node', ['browser']),
]);

const [browser, node] = await Promise.all([
  bundle('browser.js', api, 'neutral', ['browser']),
  bundle('node.js', api + cuda, 'node', ['node']),
  bundle('node.cjs', api + cuda, 'node', ['node']),
  bundle('browser.cjs', api, 'node', ['browser']),
  bundle('edge.js', api, 'neutral', ['workerd']),
]);
const [routingForNode] = await Promise.all([
  bundle('routing.js', routing, 'node', ['node']),
  bundle('routing.cjs', routing, 'node', ['node']),
  bundle('routing-browser.js', routing, 'neutral', ['browser']),
  bundle('routing-browser.cjs', routing, 'node', ['browser']),
]);

const commandLine = await build({
  ...written,
  entryPoints: { cli: 'ts/cli/main.ts' },
  platform: 'node',
  target: 'node20.16',
  format: 'esm',
  banner: {
    js: 'import { createRequire as requireFrom } from "node:module"; const require = requireFrom(import.meta.url);',
  },
  plugins: [
    {
      name: 'import-the-library',
      setup({ onResolve }) {
        onResolve({ filter: /^\.\.\/index\.ts$/ }, () => ({ path: './index.mjs', external: true }));
        onResolve({ filter: /^\.\.\/placement\/index\.ts$/ }, () => ({ path: './placement.mjs', external: true }));
      },
    },
  ],
});

const write = (file, text) => writeFile(join(workshop, file), text);

await write('placement.mjs', `export { ${placements.exports.join(', ')} } from './placement.cjs';\n`);
await write('placement.d.mts', "export * from './types/placement/index.js';\n");

/**
 * Each entry for Node.js re-exports its part of the library. An ES module re-exports from the small CommonJS entry and
 * not from node.cjs, since Node.js searches an imported CommonJS file for the names of its exports, which takes 25 ms
 * for all of node.cjs.
 */
for (const [entry, names, declarations] of [
  ['index', browser.exports, './types/index.js'],
  ['cuda', node.exports.filter((name) => !browser.exports.includes(name)), './types/devices/cuda/index.js'],
]) {
  const handOn = (file) => `export { ${names.join(', ')} } from '${file}';\n`;
  await write(`${entry}.mjs`, handOn(`./${entry}.cjs`));
  await write(`${entry}.js`, handOn('./node.js'));
  await write(
    `${entry}.cjs`,
    `'use strict';\nconst { ${names.join(', ')} } = require('./node.cjs');\nmodule.exports = { ${names.join(', ')} };\n`,
  );
  await write(`${entry}.d.mts`, `export * from '${declarations}';\n`);
}

await write('routing.mjs', `export { ${routingForNode.exports.join(', ')} } from './routing.cjs';\n`);
await write('routing.d.mts', "export * from './types/routing/index.js';\n");

const report = await makePage([inlineLoader]);
await write('report.html', report.page);

await write('THIRD-PARTY-NOTICES.txt', await notices());

for (const file of await readdir(workshop)) await keepForeignSources(file);
await chmod(join(workshop, 'cli.js'), 0o755);
// The declarations are those of the CommonJS entries, and the ES modules re-export them, as with the code
await writeFile(join(dist, 'types', 'package.json'), '{ "type": "commonjs" }\n');
// The command line is moved last, because build.sh tells by its age whether `dist` is up to date
for (const file of (await readdir(workshop)).sort((a, b) => Number(a === 'cli.js') - Number(b === 'cli.js'))) {
  await rename(join(workshop, file), join(dist, file));
}
await rm(workshop, { recursive: true });

/** Removes from a source map the text of the library's own sources, and corrects their paths. */
async function keepForeignSources(file) {
  if (!file.endsWith('.map')) return;
  const map = JSON.parse(await readFile(join(workshop, file), 'utf8'));
  map.sources = map.sources.map((source) => source.replace(/^\.\.\/\.\.\/ts\//, '../ts/'));
  map.sourcesContent = map.sourcesContent.map((text, index) => (map.sources[index].startsWith('../ts/') ? null : text));
  await write(file, JSON.stringify(map));
}

/** The licences of all code in `dist` that other people wrote. */
async function notices() {
  const parts = [
    'The library (node.cjs, node.js, browser.js, browser.cjs, edge.js) contains a part of the following package.',
    await licenseOf('@assemblyscript/loader'),
    'The library of placements imports the following package (yaml.js, yaml.cjs).',
    ...(await licensesOf(yamls.inputs)),
    'The page of pictures (report.html) contains the following packages.',
    ...(await licensesOf(report.inputs)),
    'The command line (cli.js) contains the following packages.',
    ...(await licensesOf(Object.keys(commandLine.metafile.inputs))),
    'The addon (prebuilds) contains the following.',
    await licenseOf('node-addon-api'),
    titled('CUDA runtime', await readFile(join(root, 'cuda', 'NOTICE.txt'), 'utf8')),
  ];
  return parts.map((part) => `${part.trim()}\n`).join('\n');
}

/** The licences of the packages that the inputs of a bundle belong to. */
function licensesOf(inputs) {
  const packages = inputs.flatMap((path) => /^node_modules\/((@[^/]*\/)?[^/]*)\//.exec(path)?.[1] ?? []);
  return Promise.all([...new Set(packages)].sort().map(licenseOf));
}

async function licenseOf(name) {
  const folder = join(root, 'node_modules', name);
  const file = (await readdir(folder)).find((each) => /^licen[sc]e/i.test(each));
  if (file !== undefined) return titled(name, await readFile(join(folder, file), 'utf8'));
  const { license, author } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  const text = await readFile(join(root, 'ts', 'licenses', `${license}.txt`), 'utf8');
  return titled(name, `By ${typeof author === 'string' ? author : author.name}\n\n${text}`);
}

function titled(title, text) {
  return `${title}\n${'-'.repeat(title.length)}\n\n${text.trim()}`;
}
