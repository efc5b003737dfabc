/** Memory is bounded, whatever the size of the file is: files are read, computed and written piece by piece. */
import { spawnSync } from 'node:child_process';
import { statSync, truncateSync } from 'node:fs';
import { assert } from 'chai';
import { commandPath, temporaryFolder } from './command.ts';
import { headerText, npyFile, plainForm, writeNpy } from './npy-writer.ts';

/** The most memory that a command may have, in MiB. */
const limit = 200;

describe('command line: memory', function () {
  this.timeout(300_000);
  const folder = temporaryFolder();

  /** Runs a command, and returns what it printed. It must succeed, and stay below the limit. */
  function run(args: readonly string[]): string {
    const report = "process.on('exit', () => console.error(process.resourceUsage().maxRSS))";
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [`--import=data:text/javascript,${encodeURIComponent(report)}`, commandPath, ...args],
      { cwd: folder.path('.'), encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' } },
    );
    assert.match(stderr, /^\d+\n$/, args.join(' '));
    assert.strictEqual(status, 0);
    assert.isBelow(Number(stderr) / 1024, limit, args.join(' '));
    return stdout;
  }

  /** Writes an `.npy` file of zeros, which take no space on the disk. */
  function writeZeros(name: string, shape: readonly number[]): string {
    const header = npyFile(headerText(plainForm, shape), new Uint8Array(0));
    const path = folder.write(name, header);
    truncateSync(path, header.length + shape.reduce((product, length) => product * length, 8));
    return path;
  }

  it('is below 200 MB for a report of 2.5 GB, and for its JSON', () => {
    const path = writeZeros('large.npy', [40_000_000, 8]);
    assert.isAbove(statSync(path).size, 2.5e9);
    const text = run([path, '--num-experts', '256', '--num-ranks', '64']);
    assert.match(text, /int64 \[40,000,000 tokens, top-8\]/);
    const { total } = JSON.parse(run([path, '--num-experts', '256', '--num-ranks', '64', '--json']));
    assert.strictEqual(total.numTokensPerExpert[0], 320_000_000);
    assert.strictEqual(total.numTokensPerRank[0], 40_000_000);
  });

  it('is below 200 MB for a file with tokens first', () => {
    const path = writeZeros('tokens-first.npy', [500_000, 60, 2]);
    const text = run([path, '--num-experts', '256', '--num-ranks', '8']);
    assert.match(text, /tokens,layers,topk/);
  });

  it('is below 200 MB for the files of a layout and of an order', () => {
    const path = writeZeros('rows.npy', [4_000_000, 4]);
    run([path, '--num-experts', '256', '--num-ranks', '64', '--out', 'layout.npz']);
    assert.isAbove(statSync(folder.path('layout.npz')).size, 256e6);
    run(['permute', path, '--num-experts', '256', '--out', 'order.npz']);
    assert.isAbove(statSync(folder.path('order.npz')).size, 128e6);
  });

  it('is below 200 MB for 65,000 replies of few tokens', () => {
    const ids = [0, 1, 2].map((token) => [0, 1, 2].map((layer) => [(token + layer) % 8, (token + 2 * layer + 1) % 8]));
    const npy = writeNpy(ids.flat(2).map(BigInt), [3, 3, 2], { ...plainForm, size: 1, signed: false });
    const replies = { 'npy.jsonl': npy.toString('base64'), 'arrays.jsonl': ids };
    for (const [name, routed_experts] of Object.entries(replies)) {
      folder.write(
        name,
        `${JSON.stringify({ id: 'cmpl-1', choices: [{ text: 'x', routed_experts }] })}\n`.repeat(65_000),
      );
      const text = run([name, '--num-experts', '8', '--num-ranks', '2']);
      assert.match(text, /\[3 layers, 195,000 tokens, top-2\]/);
    }
  });

  it('is below 200 MB for generated routing', () => {
    run(['generate', 'generated.npy', '--num-tokens', '3000000', '--num-experts', '64', '--num-topk', '8']);
    assert.isAbove(statSync(folder.path('generated.npy')).size, 190e6);
  });
});
