/** Small files that claim or unpack to very much: each ends in one clear line, soon, and in bounded memory. */
import { spawnSync } from 'node:child_process';
import { constants, crc32, deflateRawSync } from 'node:zlib';
import { assert } from 'chai';
import { commandPath, temporaryFolder } from './command.ts';
import { headerText, npyFile, plainForm } from './npy-writer.ts';

/** What a command printed to standard error, and the most memory that it had, in MiB. */
function run(path: string, ...flags: string[]): { status: number | null; stderr: string; mebibytes: number } {
  const report = "process.on('exit', () => console.error(process.resourceUsage().maxRSS))";
  const { status, stderr } = spawnSync(
    process.execPath,
    [
      `--import=data:text/javascript,${encodeURIComponent(report)}`,
      ...[commandPath, path, '--num-experts', '8', '--num-ranks', '4', ...flags],
    ],
    { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' }, timeout: 60_000 },
  );
  const [, message = '', kibibytes] = /^(?:(.*)\n)?(\d+)\n$/s.exec(stderr) ?? [];
  return { status, stderr: kibibytes === undefined ? stderr : message, mebibytes: Number(kibibytes) / 1024 };
}

/** Ten gigabytes of zeros after an `.npy` header, packed in ten megabytes. */
function deflatedBomb(): Buffer {
  const flush = { finishFlush: constants.Z_FULL_FLUSH };
  const zeros = deflateRawSync(Buffer.alloc(2 ** 24), flush);
  const header = deflateRawSync(npyFile(headerText(plainForm, [1, 4]), new Uint8Array(0)), flush);
  const end = Buffer.of(3, 0);
  return Buffer.concat([header, ...new Array<Buffer>(640).fill(zeros), end]);
}

/** An archive of these data, whose directory claims this length of the array `ids`, and lists the array this many times. */
function archive(packed: Buffer, claimedBytes: number, copies = 1): Buffer {
  const name = Buffer.from('ids.npy');
  const sizes = Buffer.alloc(12);
  sizes.writeUInt32LE(crc32(packed), 0);
  sizes.writeUInt32LE(packed.length, 4);
  sizes.writeUInt32LE(claimedBytes, 8);
  const common = Buffer.concat([Buffer.of(20, 0, 0, 0, 8, 0, 0, 0, 0, 0), sizes, Buffer.of(name.length, 0, 0, 0)]);
  const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, name]);
  const entry = Buffer.concat([Buffer.from('PK\x01\x02'), Buffer.of(20, 0), common, Buffer.alloc(14), name]);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06');
  end.writeUInt16LE(copies, 8);
  end.writeUInt16LE(copies, 10);
  end.writeUInt32LE(entry.length * copies, 12);
  end.writeUInt32LE(local.length + packed.length, 16);
  return Buffer.concat([local, packed, ...new Array<Buffer>(copies).fill(entry), end]);
}

describe('command line: bombs', function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const bomb = deflatedBomb();

  const cases: Record<string, { content: () => string | Uint8Array; message: RegExp; mebibytes: number }> = {
    'a zip of 10 GB that claims 102 bytes': {
      content: () => archive(bomb, npyFile(headerText(plainForm, [1, 4]), new Uint8Array(32)).length),
      message: /array 'ids' of .* is damaged: its data go on after the promised \d+ bytes/,
      mebibytes: 200,
    },
    'a zip of 10 GB that claims 4 GB': {
      content: () => archive(bomb, 2 ** 32 - 2),
      message: /is too long: the header promises int64 \[1, 4\], 32 bytes, and \d+ follow/,
      mebibytes: 200,
    },
    'a zip whose 65535 files are the same 10 GB': {
      content: () => archive(bomb, 2 ** 30, 65_535),
      message: /holds array 'ids' twice/,
      mebibytes: 400,
    },
    'an .npy that claims 10 GB': {
      content: () => npyFile(headerText(plainForm, [2 ** 30, 1]), new Uint8Array(64)),
      message: /truncated: the header promises int64 \[1073741824, 1\], 8589934592 bytes, and 64 follow/,
      mebibytes: 200,
    },
    'an .npy whose header claims 4 GB': {
      content: () => Buffer.from('\x93NUMPY\x02\x00\xff\xff\xff\xff{}', 'latin1'),
      message: /claims an \.npy header of 4294967295 bytes/,
      mebibytes: 200,
    },
    'JSON of arrays in arrays': {
      content: () => '['.repeat(2 ** 24),
      message: /line 1, \[0\]\[0\]\[0\]\[0\] is nested deeper than 4 axes/,
      mebibytes: 200,
    },
    'JSON of one long text': {
      content: () => `["${'a'.repeat(2 ** 24 - 4)}"]`,
      message: /line 1, \[0\] is "aaa.*, not an integer/,
      mebibytes: 200,
    },
    'JSON of objects in objects': {
      content: () => '{"a":'.repeat(2 ** 21),
      message: /line 1, a is nested more than 1000 levels deep/,
      mebibytes: 200,
    },
  };
  for (const [name, { content, message, mebibytes }] of Object.entries(cases)) {
    it(name, () => {
      const path = folder.write('bomb', content());
      const flags = name.includes('zip') ? ['--array', 'ids'] : [];
      const finished = run(path, ...flags);
      assert.match(finished.stderr, message);
      assert.match(finished.stderr, /^dispatch-layout: [^\n]+$/, 'one line');
      assert.strictEqual(finished.status, 2);
      assert.isBelow(finished.mebibytes, mebibytes);
    });
  }

  it('JSON of many empty arrays is read', () => {
    const path = folder.write('rows.json', `[${'[],'.repeat(2 ** 24 / 3 - 2)}[]]`);
    const { status, stderr, mebibytes } = run(path);
    assert.strictEqual(status, 0, stderr);
    assert.isBelow(mebibytes, 1200);
  });
});
