import assert from 'node:assert';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { getDispatchLayout } from 'dispatch-layout';

const topkIdx = [
  [0, 5],
  [6, -1],
];
const { device, numTokensPerRank } = getDispatchLayout(topkIdx, 8, { numRanks: 4 });
assert.strictEqual(device, 'wasm');
assert.deepStrictEqual([...numTokensPerRank], [1, 0, 1, 1]);

// Yarn puts the command line into the PATH of its scripts.
writeFileSync('routing.json', JSON.stringify(topkIdx));
const args = ['routing.json', '--num-experts', '8', '--num-ranks', '4', '--json'];
const report = JSON.parse(execFileSync('dispatch-layout', args, { encoding: 'utf8' }));
assert.strictEqual(report.device.name, 'wasm');
assert.deepStrictEqual(report.total.numTokensPerRank, [1, 0, 1, 1]);
