/** The built package: how it is found, what it imports, what it ships. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { build } from 'esbuild';

const rootUrl = new URL('..', import.meta.url);
const root = fileURLToPath(rootUrl);
const require = createRequire(import.meta.url);
const read = (path: string) => readFileSync(new URL(path, rootUrl), 'utf8');
const manifest = JSON.parse(read('package.json'));

const inNode = (script: string, type: 'module' | 'commonjs') =>
  execFileSync(process.execPath, [`--input-type=${type}`, '--eval', script], {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });

/** The module graph behind the main entry, as a bundler for browsers sees it. */
async function bundleForBrowser() {
  const result = await build({
    entryPoints: [fileURLToPath(new URL('dist/index.js', rootUrl))],
    bundle: true,
    platform: 'browser',
    format: 'esm',
    minify: true,
    metafile: true,
    write: false,
    logLevel: 'silent',
    absWorkingDir: root,
  });
  return result;
}

describe('the package', function () {
  this.timeout(20_000);

  const use = 'console.log(getDispatchLayout([[0, 1], [2, 7]], 8, { numRanks: 4 }).numTokensPerRank.join())';

  it('is imported by its name from the root', () => {
    assert.strictEqual(
      inNode(`import { getDispatchLayout } from 'dispatch-layout'; ${use}`, 'module').trim(),
      '1,1,0,1',
    );
  });

  it('is required as the ES module that it is', () => {
    assert.strictEqual(
      inNode(`const { getDispatchLayout } = require('dispatch-layout'); ${use}`, 'commonjs').trim(),
      '1,1,0,1',
    );
  });

  it('exports what it documents, and nothing else', () => {
    const names = inNode(
      "import * as all from 'dispatch-layout'; console.log(Object.keys(all).join())",
      'module',
    ).trim();
    assert.sameMembers(names.split(','), [
      'DeviceUnavailableError',
      'DispatchLayoutError',
      'EventOverlap',
      'ExpertGroup',
      'InvalidExpertError',
      'describeDevices',
      'getDispatchLayout',
    ]);
  });

  it('is an ES module without side effects but for the device cuda and workers, for the Node versions that can require it', () => {
    assert.strictEqual(manifest.type, 'module');
    assert.sameMembers(manifest.sideEffects, [
      './dist/node.js',
      './dist/cuda/index.js',
      './dist/cuda/provider.js',
      './dist/threads/node-worker.js',
      './dist/threads/node-workers.js',
      './dist/threads/worker.js',
    ]);
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
    for (const file of Object.values<string>(manifest.bin)) assert.isTrue(existsSync(new URL(file, rootUrl)), file);
  });

  it('has no run-time dependency but the loader', () => {
    assert.deepStrictEqual(Object.keys(manifest.dependencies), ['@assemblyscript/loader']);
  });

  it('imports nothing of Node and no package but the loader', async () => {
    const { metafile, warnings } = await bundleForBrowser();
    assert.deepStrictEqual(warnings, []);
    const inputs = Object.entries(metafile.inputs);
    assert.isAbove(inputs.length, 5);
    for (const [path, { imports }] of inputs) {
      assert.match(path, /^(dist\/|node_modules\/@assemblyscript\/loader\/)/);
      for (const { path: target, external } of imports) assert.isFalse(external ?? false, `${path} imports ${target}`);
    }
  });

  it('the core does not grow unnoticed in a browser: at most 30 kB gzipped', async () => {
    const { gzipSync } = await import('node:zlib');
    const { outputFiles } = await bundleForBrowser();
    assert.isBelow(gzipSync(outputFiles[0].contents).length, 30_000);
  });

  it('an unused import is shaken off', async () => {
    const { outputFiles } = await build({
      stdin: {
        contents: "import { getDispatchLayout } from 'dispatch-layout'; console.log('nothing');",
        resolveDir: root,
      },
      bundle: true,
      platform: 'browser',
      format: 'esm',
      write: false,
      logLevel: 'silent',
    });
    assert.isBelow(outputFiles[0].text.length, 200);
  });

  it('leaves globals and prototypes alone', () => {
    const script = `
      const snapshot = () => JSON.stringify([globalThis, Object.prototype, Array.prototype, Uint8Array.prototype, Promise.prototype]
        .map((object) => Reflect.ownKeys(object).map(String)));
      const before = snapshot();
      const { getDispatchLayout } = await import('dispatch-layout');
      getDispatchLayout([[0]], 8, { numRanks: 4 });
      console.log(before === snapshot());`;
    assert.strictEqual(inNode(script, 'module').trim(), 'true');
  });

  it('the process ends by itself after a layout', () => {
    const started = Date.now();
    inNode(`import { getDispatchLayout } from 'dispatch-layout'; ${use}`, 'module');
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
    assert.strictEqual(inNode(script, 'module').trim(), bytes.toString('base64'));
  });

  it('its types are exact: no any', () => {
    assert.notMatch(read('dist/index.d.ts'), /\bany\b/);
    for (const name of [
      'expert-group',
      'get-dispatch-layout',
      'topk-idx',
      'layout',
      'errors',
      'event-overlap',
      'devices',
    ]) {
      const code = read(`dist/${name}.d.ts`).replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');
      assert.notMatch(code, /\bany\b/, name);
    }
  });
});

describe('the conformance suite', () => {
  it('imports nothing of Node but in loader.ts, and the library by its name, but for sizes that it lowers', async () => {
    const result = await build({
      entryPoints: [fileURLToPath(new URL('test/conformance/suite.ts', rootUrl))],
      bundle: true,
      platform: 'neutral',
      format: 'esm',
      packages: 'external',
      metafile: true,
      write: false,
      logLevel: 'silent',
      absWorkingDir: root,
    });
    const imports = Object.entries(result.metafile.inputs).flatMap(([file, input]) =>
      input.imports.filter(({ external }) => external).map(({ path }) => ({ file, path })),
    );
    const allowed = ['chai', 'dispatch-layout', 'fast-check'];
    for (const { file, path } of imports) {
      if (!file.endsWith('/loader.ts')) assert.include(allowed, path, `${file} imports ${path}`);
    }
    for (const file of Object.keys(result.metafile.inputs)) {
      assert.match(file, /^(test\/(conformance|support)\/|dist\/threads\/thresholds\.js$)/);
    }
  });
});
