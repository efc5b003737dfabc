/**
 * Takes pictures of the page of pictures, to be looked at: node test/web/screenshots.mjs
 *
 * It writes build/page-light.png, build/page-dark.png and build/page-narrow.png, and docs/report.png, which the README
 * shows.
 *
 * @module
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import puppeteer from 'puppeteer-core';

const root = fileURLToPath(new URL('../../', import.meta.url));
const build = `${root}build/`;
// The page shows the name of the file, and not where it lies
const command = (...args) => execFileSync(process.execPath, [`${root}dist/cli.js`, ...args], { cwd: build });

mkdirSync(build, { recursive: true });
const trace = 'capture.npy';
const report = `${build}capture.html`;
const shape = ['--num-tokens', '16384', '--num-experts', '64', '--num-topk', '6', '--layers', '12', '--dtype', 'uint8'];
command('generate', trace, ...shape, '--workload', 'log-normal', '--sigma', '0.7', '--seed', '1');
command(trace, '--num-experts', '64', '--num-ranks', '16', '--html', report);

const browser = await puppeteer.launch({
  executablePath: process.env.DISPATCH_LAYOUT_CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
try {
  for (const [path, scheme, width, height] of [
    [`${build}page-light.png`, 'light', 1280, 4000],
    [`${build}page-dark.png`, 'dark', 1280, 4000],
    [`${build}page-narrow.png`, 'light', 360, 7000],
    [`${root}docs/report.png`, 'light', 1280, 1400],
  ]) {
    const page = await browser.newPage();
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
    await page.setViewport({ width, height });
    await page.goto(pathToFileURL(report).href);
    await page.waitForSelector('svg.chart');
    await page.select('#placement', 'eplb');
    await page.focus('#redundant');
    await page.keyboard.press('ArrowRight');
    await page.select('#window', '512');
    await page.waitForFunction(
      () => document.querySelector('#before-and-after circle, #before-and-after path') !== null,
    );
    // The other numbers of ranks come last
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await page.screenshot({ path });
    await page.close();
  }
} finally {
  await browser.close();
}
