/**
 * Measures how fast the page of pictures is, in Chromium: from choosing a capture to its first pictures, and from a new
 * number of ranks to its new pictures. `./build.sh bench --page` prints a table. Each time is the median of several, of
 * one browser on whatever the machine does beside it.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import puppeteer from 'puppeteer-core';

const root = fileURLToPath(new URL('../../', import.meta.url));
const pagePath = join(root, 'dist', 'report.html');
const chromium = [process.env.DISPATCH_LAYOUT_CHROMIUM, '/usr/bin/chromium', '/usr/bin/google-chrome'].find(
  (path) => path !== undefined && existsSync(path),
);
if (chromium === undefined) {
  console.error('There is no Chromium here. Debian, Ubuntu: sudo apt-get install chromium');
  process.exit(1);
}

/** The captures that are read. The last one has the size for which the page promises 100 ms. */
const captures = [
  { name: 'int64, 256 experts, top-8', flags: ['--num-tokens', '28250', '--layers', '58', '--dtype', 'int64'] },
  {
    name: 'int16, 64 experts, top-6',
    flags: ['--num-tokens', '320000', '--layers', '26', '--dtype', 'int16', '--num-experts', '64', '--num-topk', '6'],
  },
  {
    name: 'uint8, 64 experts, top-6',
    flags: ['--num-tokens', '8000', '--layers', '26', '--dtype', 'uint8', '--num-experts', '64', '--num-topk', '6'],
  },
];
const numRepeats = 7;

const median = (values) => [...values].sort((left, right) => left - right)[values.length >> 1];
const folder = await mkdtemp(join(tmpdir(), 'dispatch-layout-page-'));
const browser = await puppeteer.launch({ executablePath: chromium, args: ['--no-sandbox', '--disable-gpu'] });
try {
  const page = await readFile(pagePath);
  console.log(`${await browser.version()}, ${cpus()[0].model}, ${cpus().length} cores`);
  console.log(`the page without data: ${gzipSync(page, { level: 9 }).length} bytes gzipped\n`);
  console.log('capture                     tokens          size    first pictures   new number of ranks   EPLB');
  for (const [index, { name, flags }] of captures.entries()) {
    const file = join(folder, `${index}.npy`);
    execFileSync(process.execPath, [join(root, 'dist', 'cli.js'), 'generate', file, ...flags, '--skew', '0.5']);
    const first = [];
    let tab;
    for (let repeat = 0; repeat < numRepeats; repeat++) {
      await tab?.close();
      tab = await openPage();
      first.push(await firstPictures(tab, file));
    }
    // The other numbers of ranks are computed then
    await tab.waitForFunction(
      () => !/nothing to show/.test(document.querySelector('#balance-over-ranks').textContent),
      {
        timeout: 120_000,
      },
    );
    const ranks = await changes(tab, '#ranks', (turn) => String(4 + (turn % 5)));
    await tab.select('#placement', 'eplb');
    const eplb = await changes(tab, '#redundant', (turn) => String((turn % 5) * 8));
    await tab.close();
    const tokens = await count(flags);
    console.log(
      [
        name.padEnd(26),
        tokens.padStart(16),
        `${(statSync(file).size / 1e6).toFixed(0)} MB`.padStart(9),
        `${median(first).toFixed(0)} ms`.padStart(14),
        `${median(ranks).toFixed(0)} ms`.padStart(20),
        `${median(eplb).toFixed(0)} ms`.padStart(9),
      ].join(''),
    );
  }
} finally {
  await browser.close();
  await rm(folder, { recursive: true });
}

function count(flags) {
  const setting = (flag) => flags[flags.indexOf(flag) + 1];
  return `${setting('--layers')} x ${setting('--num-tokens')}`;
}

async function openPage() {
  const tab = await browser.newPage();
  await tab.setViewport({ width: 1200, height: 900 });
  await tab.goto(pathToFileURL(pagePath).href);
  return tab;
}

/** The time from choosing a file until pictures of it are on the screen. */
async function firstPictures(tab, file) {
  await tab.evaluate(() => {
    document.querySelector('#files').addEventListener(
      'change',
      () => {
        window.started = performance.now();
      },
      { capture: true },
    );
    new MutationObserver(() => {
      if (window.finished === undefined && document.querySelector('svg.chart') !== null) {
        requestAnimationFrame(() =>
          setTimeout(() => {
            window.finished = performance.now();
          }),
        );
      }
    }).observe(document.querySelector('#pictures'), { subtree: true, childList: true });
  });
  await (await tab.$('#files')).uploadFile(file);
  await tab.waitForFunction(() => window.finished !== undefined, { timeout: 120_000 });
  return tab.evaluate(() => window.finished - window.started);
}

/** The times from changing a control until the pictures that are on the screen have been drawn again. */
function changes(tab, selector, valueAt) {
  return tab.evaluate(
    async (from, values) => {
      const control = document.querySelector(from);
      const times = [];
      for (const value of values) {
        const start = performance.now();
        control.value = value;
        control.dispatchEvent(new Event('input', { bubbles: true }));
        await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
        times.push(performance.now() - start);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return times;
    },
    selector,
    Array.from({ length: 15 }, (_, turn) => valueAt(turn)),
  );
}
