// Loads the extension into Chromium, with the policy of its manifest, which allows WebAssembly, and with the default
// policy.
import assert from 'node:assert';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { withChromium } from '../support/chromium.mjs';

const allowing = resolve('extension');
const forbidding = resolve('extension-with-default-policy');
await cp(allowing, forbidding, { recursive: true });
const { content_security_policy, ...manifest } = JSON.parse(await readFile('extension/manifest.json', 'utf8'));
await writeFile(`${forbidding}/manifest.json`, JSON.stringify(manifest));

const layouts = {
  [allowing]: '1 0 1 1 on wasm, wasm: AVAILABLE',
  [forbidding]: '1 0 1 1 on js, wasm: WEBASSEMBLY_FORBIDDEN',
};
await withChromium(
  async (chromium) => {
    for (const [path, layout] of Object.entries(layouts)) {
      const { id } = await chromium.call('Extensions.loadUnpacked', { path });
      const text = await chromium.outputOf(`chrome-extension://${id}/page.html`);
      assert.strictEqual(text, `page: ${layout}; service worker: ${layout}`);
    }
  },
  { args: ['--enable-unsafe-extension-debugging'] },
);
