import assert from 'node:assert';
import { execFileSync } from 'node:child_process';
import { cp, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// The bundle is alone in a folder from which no node_modules is found, as when it is deployed.
const folder = await mkdtemp(join(tmpdir(), 'handler-'));
await cp('dist/handler.js', join(folder, 'handler.js'));
const event = {
  topkIdx: [
    [0, 5],
    [6, -1],
  ],
  numExperts: 8,
  numRanks: 4,
};
const script = `require('./handler.js').handler(${JSON.stringify(event)}).then((result) => console.log(JSON.stringify(result)))`;
const output = execFileSync(process.execPath, ['-e', script], { cwd: folder, encoding: 'utf8' });

const { device, numTokensPerRank, devices } = JSON.parse(output);
assert.strictEqual(device, 'wasm');
assert.deepStrictEqual(numTokensPerRank, [1, 0, 1, 1]);
// Node.js can load addons, but the file of the addon is not part of a bundle.
const [cuda] = devices;
assert.strictEqual(cuda.device, 'cuda');
assert.strictEqual(cuda.code, 'ADDON_MISSING', cuda.reason);
