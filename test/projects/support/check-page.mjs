/**
 * `check-page.mjs FOLDER TEXT` checks that the page that was built into this folder shows this text in its `<output>`.
 *
 * @module
 */
import assert from 'node:assert';
import { withChromium } from './chromium.mjs';
import { withSite } from './site.mjs';

const [folder, text] = process.argv.slice(2);
await withSite(folder, (url) =>
  withChromium(async (chromium) => assert.strictEqual(await chromium.outputOf(url), text)),
);
