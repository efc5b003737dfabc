// Checks the built site: a component on the server, one in the browser, and a route on each runtime of Next.js.
import assert from 'node:assert';
import { withChromium } from '../support/chromium.mjs';
import { withServer } from '../support/server.mjs';

async function textOf(url) {
  const response = await fetch(url);
  assert.strictEqual(response.status, 200, url);
  return response.text();
}

await withServer('next', ['start', '--port', '0'], async (url) => {
  assert.strictEqual(await textOf(`${url}/node`), '1 0 1 1 on wasm, node');
  assert.strictEqual(await textOf(`${url}/edge`), '1 0 1 1 on wasm, edge-runtime');
  assert.match(await textOf(url), /<p>on the server: 1 0 1 1 on wasm<\/p><output><\/output>/);
  await withChromium(async (chromium) => assert.strictEqual(await chromium.outputOf(url), '1 0 1 1 on wasm'));
});
