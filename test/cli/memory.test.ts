/** Input that is too large for the memory of the process gives a clear line, whatever needs the memory. */
import { spawnSync } from 'node:child_process';
import { existsSync, truncateSync } from 'node:fs';
import { assert } from 'chai';
import { zipSync } from 'fflate';
import { commandPath, temporaryFolder } from './command.ts';
import { headerText, npyFile, npyOf, plainForm } from './npy-writer.ts';

describe('command line: too little memory', function () {
  this.timeout(120_000);
  const folder = temporaryFolder();

  before(function () {
    // Only Linux limits the address space of a process.
    if (process.platform !== 'linux') this.skip();
  });

  /** Runs a shell command, in which `dispatch-layout` has an address space of this many KiB. */
  function run(kibibytes: number, command: string): { status: number | null; stderr: string } {
    const limited = `${command.replace('dispatch-layout', `(ulimit -v ${kibibytes}; exec "$0" "$1"`)})`;
    const { status, stdout, stderr } = spawnSync('sh', ['-c', limited, process.execPath, commandPath], {
      cwd: folder.path('.'),
      encoding: 'utf8',
      env: { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' },
    });
    assert.strictEqual(stdout, '');
    return { status, stderr };
  }

  /** Writes an `.npy` file of zeros, which take no space on the disk. */
  function writeZeros(name: string, shape: readonly number[], padding = 0): void {
    const header = npyFile(headerText({ ...plainForm, size: 1, padding }, shape), new Uint8Array(0));
    const path = folder.write(name, header);
    truncateSync(path, header.length + shape.reduce((product, length) => product * length, 1));
  }

  function expectLackOfMemory(kibibytes: number, command: string, message: RegExp): void {
    const { status, stderr } = run(kibibytes, command);
    assert.match(stderr, message, command);
    assert.match(stderr, /^dispatch-layout: not enough memory for [^\n]+; [^\n]+\n$/, command);
    assert.strictEqual(status, 2, command);
  }

  const flags = '--num-experts 8 --num-ranks 8 --device js';

  it('for a file', () => {
    writeZeros('large.npy', [3 * 2 ** 27, 8]);
    expectLackOfMemory(
      4_000_000,
      `dispatch-layout large.npy ${flags}`,
      /for the 32212\d+ bytes of large\.npy; split it by layers or tokens/,
    );
    expectLackOfMemory(
      2_000_000,
      `dispatch-layout - ${flags} <large.npy`,
      /standard input, of which \d+ bytes have been read/,
    );
    expectLackOfMemory(2_000_000, `cat large.npy | dispatch-layout - ${flags}`, /standard input, of which/);
    expectLackOfMemory(4_000_000, `dispatch-layout large.npy ${flags} --placement large.npy`, /large\.npy/);
  });

  it('for JSON over the limit: the message names the limit, not the memory', () => {
    const path = folder.write('large.json', '[[1, 2]');
    truncateSync(path, 3 * 2 ** 30);
    const { status, stderr } = run(4_000_000, `dispatch-layout large.json ${flags}`);
    assert.match(stderr, /^dispatch-layout: large\.json is JSON of more than 16777216 bytes/);
    assert.strictEqual(status, 2);
  });

  it('for the unpacked array of an archive', () => {
    // The archive may contain very little.
    const archive = Buffer.from(zipSync({ 'ids.npy': npyOf([[1]]) }));
    archive.writeUInt32LE(2 ** 30, archive.indexOf('PK\x01\x02') + 24);
    folder.write('ids.npz', archive);
    expectLackOfMemory(
      1_500_000,
      `dispatch-layout ids.npz ${flags}`,
      /the 1073741824 bytes of array 'ids' of ids\.npz/,
    );
  });

  it('for the layout, and for the file that it is written to', () => {
    const wide = '--num-experts 512 --num-ranks 512 --ranks-per-node 512 --device js';
    writeZeros('many.npy', [2 ** 22, 1]);
    const rows = /for the 2147483648 bytes of is_token_in_rank of many\.npy; split the file by tokens/;
    expectLackOfMemory(2_000_000, `dispatch-layout many.npy ${wide}`, rows);
    // On Node.js 20, there is enough memory for the rows, but not for the file.
    writeZeros('fewer.npy', [2 ** 20, 1]);
    const file = /for the \d+ bytes of (out\.npz|is_token_in_rank of fewer\.npy); split the file by tokens/;
    expectLackOfMemory(1_900_000, `dispatch-layout fewer.npy ${wide} --out out.npz`, file);
    assert.isFalse(existsSync(folder.path('out.npz')));
  });

  it('for an order, and for the file that it is written to', () => {
    const padded = '--alignment 1048576 --device js';
    writeZeros('many-slots.npy', [2 ** 10, 1]);
    const rows =
      /for the 21474\d+ bytes of selection_of_row of many-slots\.npy; split the file by tokens, or lower --al/;
    expectLackOfMemory(2_000_000, `dispatch-layout permute many-slots.npy --num-experts 512 ${padded}`, rows);
    // On Node.js 20, there is enough memory for the rows, but not for the file.
    const file = /for the \d+ bytes of (order\.npz|selection_of_row of many-slots\.npy); split the file by tokens/;
    const command = `dispatch-layout permute many-slots.npy --num-experts 128 ${padded} --out order.npz`;
    expectLackOfMemory(1_900_000, command, file);
    assert.isFalse(existsSync(folder.path('order.npz')));
  });

  it('for generated routing', () => {
    const command = 'dispatch-layout generate out.npy --num-experts 8 --num-topk 8 --num-tokens 33554400';
    expectLackOfMemory(2_000_000, command, /for 268435200 ids; generate fewer tokens or layers/);
  });
});
