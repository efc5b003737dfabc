// Checks the built site as it is deployed: the data of a page on the server, and the page in the browser.
import assert from 'node:assert';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { withChromium } from '../support/chromium.mjs';
import { withServer } from '../support/server.mjs';

// The server prints the port that it is given instead of the one that it gets, so a free port is found first.
const placeholder = createServer().listen(0, '127.0.0.1');
await once(placeholder, 'listening');
Object.assign(process.env, { HOST: '127.0.0.1', PORT: `${placeholder.address().port}` });
placeholder.close();

await withServer(process.execPath, ['build'], async (url) => {
  const html = await (await fetch(url)).text();
  assert.match(html, /<p>on the server: 1 0 1 1 on wasm<\/p> <output><\/output>/);
  await withChromium(async (chromium) => assert.strictEqual(await chromium.outputOf(url), '1 0 1 1 on wasm'));
});
