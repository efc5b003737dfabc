/** The built package: how it is found, what it imports, what it ships. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
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

/** A minified bundle without warnings. */
async function bundleOf(contents: string, options: BuildOptions) {
  const { metafile, outputFiles, warnings } = await bundle(contents, { minify: true, ...options });
  assert.deepStrictEqual(warnings, []);
  return { inputs: Object.keys(metafile.inputs), metafile, text: outputFiles[0].text };
}

const useAll = "export * from 'dispatch-layout';";
const useOne = "import { getDispatchLayout } from 'dispatch-layout'; globalThis.use = getDispatchLayout;";
const useNone = "import { getDispatchLayout } from 'dispatch-layout'; console.log('nothing');";

describe('the package', function () {
  this.timeout(20_000);

  const use = 'console.log(getDispatchLayout([[0, 1], [2, 7]], 8, { numRanks: 4 }).numTokensPerRank.join())';

  it('is imported by its name from the root', () => {
    assert.strictEqual(printedBy(`import { getDispatchLayout } from 'dispatch-layout'; ${use}`), '1,1,0,1');
  });

  it('is required as the ES module that it is', () => {
    const script = `const { getDispatchLayout } = require('dispatch-layout'); ${use}`;
    assert.strictEqual(printedBy(script, {}, ['--input-type=commonjs']), '1,1,0,1');
  });

  it('exports what it documents, and nothing else', () => {
    const names = printedBy("import * as all from 'dispatch-layout'; console.log(Object.keys(all).join())");
    assert.sameMembers(names.split(','), [
      'DeviceUnavailableError',
      'DispatchLayoutError',
      'EventOverlap',
      'ExpertGroup',
      'InvalidExpertError',
      'Workspace',
      'describeDevices',
      'getDispatchLayout',
      'prepare',
    ]);
  });

  it('is an ES module without side effects, for the Node versions that can require it', () => {
    assert.strictEqual(manifest.type, 'module');
    assert.isFalse(manifest.sideEffects);
    assert.strictEqual(manifest.engines.node, '>=20.19');
    assert.isUndefined(manifest.main);
  });

  it('runs no script at install', () => {
    for (const script of ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish'])
      assert.notProperty(manifest.scripts, script);
    assert.isFalse(existsSync(new URL('binding.gyp', rootUrl)));
  });

  it('every export is there, with its types first', () => {
    for (const [subpath, target] of Object.entries<string | Record<string, string>>(manifest.exports)) {
      const files = typeof target === 'string' ? [target] : Object.values(target);
      for (const file of files) assert.isTrue(existsSync(new URL(file, rootUrl)), `${subpath}: ${file}`);
      if (typeof target === 'object') assert.strictEqual(Object.keys(target)[0], 'types', subpath);
    }
    for (const conditions of Object.values<Record<string, string>>(manifest.imports)) {
      for (const file of Object.values(conditions)) assert.isTrue(existsSync(new URL(file, rootUrl)), file);
    }
    for (const file of Object.values<string>(manifest.bin)) assert.isTrue(existsSync(new URL(file, rootUrl)), file);
  });

  it('has no run-time dependency but the loader', () => {
    assert.deepStrictEqual(Object.keys(manifest.dependencies), ['@assemblyscript/loader']);
  });

  it('imports nothing of Node, of CUDA, and no package but the loader in a browser', async () => {
    const { metafile } = await bundleOf(useAll, { platform: 'browser' });
    const inputs = Object.entries(metafile.inputs).filter(([path]) => path !== '<stdin>');
    assert.isAbove(inputs.length, 5);
    for (const [path, { imports }] of inputs) {
      assert.match(path, /^(dist\/(?!devices\/cuda\/)|node_modules\/@assemblyscript\/loader\/)/);
      for (const { path: target, external, kind } of imports) {
        assert.isTrue(kind === 'dynamic-import' || !external, `${path} imports ${target}`);
      }
    }
  });

  it('the core stays below 20 kB in a browser, minified and gzipped', async () => {
    const { text } = await bundleOf(useOne, { platform: 'browser' });
    assert.isBelow(gzipSync(text).length, 20_000);
  });

  for (const platform of ['browser', 'node'] as const) {
    it(`an unused import is shaken off (${platform})`, async () => {
      assert.isBelow((await bundleOf(useNone, { platform })).text.length, 200);
    });
  }

  it('the device cuda is in a bundle for Node, and not in others', async () => {
    const forNode = await bundleOf(useOne, { platform: 'node' });
    assert.include(forNode.inputs, 'dist/devices/cuda/device.js');
    assert.include(forNode.text, 'dispatch_layout_cuda.node');
    for (const platform of ['browser', 'neutral'] as const) {
      const { inputs, text } = await bundleOf(useOne, { platform });
      assert.notInclude(inputs.join(), 'dist/devices/cuda/');
      assert.notInclude(text, '.node"');
    }
  });

  for (const condition of ['workerd', 'edge-light']) {
    it(`the kernel is a module import for ${condition}, and its bytes are not in the bundle`, async () => {
      const { metafile, text } = await bundleOf(useOne, {
        platform: 'browser',
        conditions: [condition],
        external: ['*.wasm?module'],
      });
      const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
      assert.deepStrictEqual(
        imports.map(({ path }) => path.split('/').at(-1)),
        ['kernel.wasm?module'],
      );
      assert.isBelow(text.length, 40_000);
    });
  }

  it('an edge runtime may hand the kernel over from another realm, as that of Next.js does', async () => {
    const { outputFiles } = await bundle(useOne, {
      format: 'iife',
      conditions: ['edge-light'],
      plugins: [
        {
          name: 'kernel',
          setup({ onResolve, onLoad }) {
            onResolve({ filter: /kernel\.wasm\?module$/ }, () => ({ path: 'kernel', namespace: 'kernel' }));
            onLoad({ filter: /.*/, namespace: 'kernel' }, () => ({ contents: 'export default globalThis.kernel' }));
          },
        },
      ],
    });
    const kernel = new WebAssembly.Module(readFileSync(require.resolve('dispatch-layout/kernel.wasm')));
    const context = createContext({ kernel, TextDecoder });
    runInContext(outputFiles[0].text, context);
    assert.strictEqual(runInContext('use([[0]], 8, { numRanks: 4 }).device', context), 'wasm');
  });

  it('ships what is needed, and nothing else', () => {
    const output = execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: root, encoding: 'utf8', stdio: 'pipe' });
    const files: string[] = JSON.parse(output)[0].files.map(({ path }: { path: string }) => path);
    for (const file of ['dist/index.js', 'dist/index.d.ts', 'dist/cli.js', 'dist/kernel.wasm', 'LICENSE', 'README.md'])
      assert.include(files, file);
    for (const file of files) {
      assert.match(file, /^((dist|ts|wasm|cuda)\/|(CHANGELOG|README)\.md$|LICENSE$|package\.json$)/);
      assert.match(file, /\.(js|mjs|ts|map|wasm|node|txt|md|json|sh|h|cpp|cu|cuh)$|^LICENSE$/);
      assert.notMatch(file, /\.test\.|(^|\/)\.|node_modules|~$/);
    }
  });

  it('leaves globals and prototypes alone', () => {
    const script = `
      const snapshot = () => JSON.stringify([globalThis, Object.prototype, Array.prototype, Uint8Array.prototype, Promise.prototype]
        .map((object) => Reflect.ownKeys(object).map(String)));
      const before = snapshot();
      const { getDispatchLayout } = await import('dispatch-layout');
      getDispatchLayout([[0]], 8, { numRanks: 4 });
      console.log(before === snapshot());`;
    assert.strictEqual(printedBy(script), 'true');
  });

  it('the process ends by itself after a layout', () => {
    const started = Date.now();
    printedBy(`import { getDispatchLayout } from 'dispatch-layout'; ${use}`);
    assert.isBelow(Date.now() - started, 5000);
  });

  it('the kernel file is the kernel inside the JavaScript, and imports nothing', () => {
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

  it('its types are exact: no any', () => {
    assert.notMatch(read('dist/index.d.ts'), /\bany\b/);
    for (const name of [
      'choose-device',
      'errors/errors',
      'expert-group',
      'get-dispatch-layout',
      'input/read-topk-idx',
      'layout/event-overlap',
      'layout/layout',
      'layout/outputs',
      'values/id-types',
    ]) {
      const code = read(`dist/${name}.d.ts`).replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
      assert.notMatch(code, /\bany\b/, name);
    }
  });
});

describe('the conformance suite', () => {
  it('imports nothing of Node but in loader.ts, and the library by its name', async () => {
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
