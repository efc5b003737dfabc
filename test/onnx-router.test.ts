/**
 * The example of a router in ONNX Runtime: its output is passed to the library as it is, in Node.js and in Chromium.
 * The tests are skipped if its packages (`./build.sh examples`) or Chromium are missing.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { answer, outputNames } from './conformance/oracle.ts';

const folder = fileURLToPath(new URL('../examples/onnx-router/', import.meta.url));
const chromiumPath = process.env.DISPATCH_LAYOUT_CHROMIUM ?? '/usr/bin/chromium';

/** The part of `playwright-core` that is used here. The package is installed only with the examples. */
interface Playwright {
  readonly chromium: {
    launch(options: { executablePath: string; args: readonly string[] }): Promise<{
      newPage(): Promise<{
        on(event: 'pageerror', listener: (error: Error) => void): void;
        goto(url: string): Promise<unknown>;
        waitForFunction(condition: string): Promise<unknown>;
        textContent(selector: string): Promise<string | null>;
      }>;
      close(): Promise<void>;
    }>;
  };
}

/** The numbers that the examples print, line by line. */
function numbersOf(printed: string): number[][] {
  return printed
    .trim()
    .split('\n')
    .map((line) => (line.match(/\b\d+\b/g) ?? []).map(Number));
}

/** Checks that the layout that was printed is that of the ids that were printed. */
function expectLayout(printed: string): void {
  assert.match(printed, /^experts selected {2}int64 /);
  const [experts, ...layout] = numbersOf(printed);
  assert.lengthOf(experts, 24);
  const rows = Array.from({ length: 6 }, (_, token) => experts.slice(token * 4, token * 4 + 4).map(BigInt));
  const expected = answer({ rows, numExperts: 32, numRanks: 8, numRanksPerNode: 4 });
  if (!('layout' in expected)) assert.fail(expected.error.code);
  const right = expected.layout;
  assert.deepStrictEqual(
    layout,
    outputNames.map((name) => [...(right[name] ?? [])]),
  );
}

/** The ids that the router must select, computed from its weights in the way that `make-model.mjs` defines. */
function expectedExperts(): number[] {
  const weight = (place: number) => Math.fround((Math.imul(place + 1, 0x9e3779b1) | 0) / 2 ** 31);
  return Array.from({ length: 6 }, (_, token) => {
    const logits = Array.from({ length: 32 }, (_, expert) => {
      let sum = 0;
      for (let i = 0; i < 64; i++) sum += Math.fround(Math.sin((token * 64 + i) ** 2)) * weight(i * 32 + expert);
      return { expert, sum };
    });
    return logits.sort((a, b) => b.sum - a.sum).slice(0, 4);
  }).flatMap((selected) => selected.map(({ expert }) => expert));
}

describe('an ONNX router', function () {
  this.timeout(120_000);
  let onNode = '';

  before(function () {
    if (!existsSync(`${folder}node_modules/dispatch-layout`)) {
      console.log('    SKIPPED: its packages are not installed, ./build.sh examples does that');
      this.skip();
    }
    const made = execFileSync(process.execPath, [`${folder}make-model.mjs`], { encoding: 'utf8' });
    assert.match(made, /^router\.onnx, \d{4} bytes: /);
    onNode = execFileSync(process.execPath, [`${folder}node.mjs`], { encoding: 'utf8' });
  });

  it('on onnxruntime-node: the layout of its tensor is that of the oracle', () => expectLayout(onNode));

  it('selects the experts that follow from its weights', () => {
    assert.deepStrictEqual(numbersOf(onNode)[0], expectedExperts());
  });

  describe('on onnxruntime-web, in Chromium', () => {
    let server: ChildProcess | undefined;
    before(function () {
      if (!existsSync(chromiumPath)) {
        console.log(`    SKIPPED: there is no ${chromiumPath}`);
        this.skip();
      }
    });
    after(() => server?.kill());

    it('gives the same layout', async () => {
      server = spawn(process.execPath, [`${folder}serve.mjs`, '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
      const [address] = (await once(server.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
      const { chromium } = createRequire(`${folder}package.json`)('playwright-core') as Playwright;
      const browser = await chromium.launch({
        executablePath: chromiumPath,
        args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      });
      try {
        const page = await browser.newPage();
        const errors: string[] = [];
        page.on('pageerror', (error) => errors.push(String(error)));
        await page.goto(`${address}`.trim());
        await page.waitForFunction("document.title === 'computed on wasm'").catch((error) => {
          assert.deepStrictEqual(errors, []);
          throw error;
        });
        const inBrowser = (await page.textContent('#result')) ?? '';
        expectLayout(inBrowser);
        assert.strictEqual(inBrowser.trim(), onNode.trim());
      } finally {
        await browser.close();
      }
    });
  });
});
