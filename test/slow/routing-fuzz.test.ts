/** Every reader of routing can be trusted with anything: fuzzed files, and large files that were made to hurt. */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { temporaryFolder } from '../cli/command.ts';
import { npyFile } from '../cli/npy-writer.ts';
import { Cases } from '../routing/fuzz/cases.ts';
import { archiveOfOne } from '../routing/fuzz/seeds.ts';
import { describeFailure, fuzzRouting } from '../routing/fuzz.ts';
import * as p from '../support/pickle-writer.ts';
import { writeTorchFile } from '../support/torch-writer.ts';

describe('fuzzed files of routing', function () {
  this.timeout(600_000);

  it('are read or refused: cut off at every byte, and changed at random for a minute', async () => {
    const random = 20261126;
    const { numCases, failures } = await fuzzRouting(60, random);
    assert.isEmpty(failures, failures.map((failure) => describeFailure(failure, random)).join('\n\n'));
    assert.isAbove(numCases, new Cases(random, '/nowhere').numCut);
  });
});

/** A part of a file, repeated up to a number of MiB. */
type Part = string | Uint8Array | readonly [part: string | Uint8Array, mebibytes: number];

function writeParts(path: string, parts: readonly Part[]): void {
  const file = openSync(path, 'w');
  for (const part of parts) {
    if (typeof part === 'string') writeSync(file, part);
    else if (part instanceof Uint8Array) writeSync(file, part);
    else {
      const [repeated, mebibytes] = part;
      const unit = Buffer.from(repeated);
      const block = Buffer.alloc(unit.length * Math.ceil(2 ** 20 / unit.length), unit);
      for (let written = 0; written < mebibytes * 2 ** 20; written += block.length) writeSync(file, block);
    }
  }
  closeSync(file);
}

const reader = fileURLToPath(new URL('../routing/fuzz/read-twice.ts', import.meta.url));
const worker = fileURLToPath(new URL('../routing/fuzz/worker.ts', import.meta.url));

/** Reads a file twice, and prints the error, the most memory that the process had, and the time that it computed. */
const script = `
import { readTwice } from ${JSON.stringify(reader)};
import { peakMebibytes } from ${JSON.stringify(worker)};
const path = process.argv[1];
const start = process.cpuUsage();
const message = await readTwice(() => path, {}, path);
const { user, system } = process.cpuUsage(start);
console.log(JSON.stringify({ message, mebibytes: peakMebibytes(), seconds: (user + system) / 1e6 }));
`;

/** How many MiB a process takes at most. Node.js with the compiler of TypeScript takes 80. */
const mostMebibytes = 400;
/** How long it computes at most, with the start of the compiler, and with files of 100 MiB read several times. */
const mostSeconds = 30;

const zeros = new Uint8Array(2 ** 26);
const shape = (text: string) => `{'descr': '<i8', 'fortran_order': False, 'shape': ${text}, }`;
const small = npyFile(shape('(4, 2)'), new Uint8Array(64));
const long = npyFile(shape('(8388608, 1)'), zeros);
/** Tuples of two of the tuple before, 64 times: 2 to the power of 64 values. */
const laughs = p.code('N', ...Array.from({ length: 64 }, (_, index) => p.code('q', index, 'h', index, 0x86)));

describe('large files of routing that were made to hurt', function () {
  this.timeout(300_000);
  if (!existsSync('/proc/self/status')) this.pending = true;
  const folder = temporaryFolder();

  const cases: Record<string, [file: readonly Part[], message: RegExp | null]> = {
    'brackets, 100 MiB deep': [[['[', 100]], /nested deeper than 4 axes/],
    'brackets 100 MiB deep under a key that nobody reads': [['{"a":', ['[', 100]], /nested more than/],
    'brackets 50 MiB deep that are closed': [['{"a":', ['[', 50], [']', 50], '}'], /nested more than/],
    'objects, 100 MiB deep': [[['{"a":', 100]], /nested more than/],
    'containers, 100 MiB deep': [[['{"choices":[', 100]], /nested more than/],
    'spaces and nothing else': [[[' ', 100]], /a value is missing, and the file ends/],
    'an integer of 100 million digits': [['[[1, ', ['9', 100], ']]'], /is not valid JSON/],
    'an integer of a million digits': [['[[1, ', ['9', 1], ']]'], /is not valid JSON/],
    'a layer of a million digits': [['{"topk_ids":[1],"layer":', ['9', 1], '}'], /layer is not valid JSON/],
    'a string without an end': [['{"a":"', ['x', 100]], /is not valid JSON/],
    'a key without an end': [['{"', ['x', 100]], /a string of more than 32768 bytes/],
    'base64 of 100 MiB with a wrong end': [['{"routed_experts":"', ['AAAA', 100], '!"}'], /is no base64/],
    'ids that nobody closes': [['{"layer":1,"topk_ids":[1', [',1', 100]], /more than 16777216 ids in one record/],
    'lines of empty objects': [[['{}\n', 10]], /has no ids of experts/],
    'records of ever the same layer': [[['{"layer":0,"topk_ids":[1]}\n', 60]], null],
    'replies without ids': [[['{"routed_experts":null}\n', 60]], /more than 65536 replies/],
    'a CSV header without an end': [['layer,', ['x', 100]], /line 1 is longer than/],
    'a CSV row without an end': [['layer,token,expert\n', ['1', 100]], /a field of more than 32768 bytes/],
    'a CSV field in quotes without an end': [['layer,token,expert\n"', ['1\n', 100]], /a quoted field without an end/],
    'CSV of comments': [['# route_trace v1\n', ['# x\n', 20]], /has no header/],
    'CSV of columns': [['layer,token,expert', [',a', 100], '\n'], /line 1 is longer than/],
    'an .npy header that never ends': [
      [Buffer.from('\x93NUMPY\x03\0\xff\xff\xff\x7f{', 'latin1'), [' ', 100]],
      /claims an .npy header of 2147483647 bytes/,
    ],
    'an .npy shape of all numbers': [
      [npyFile(shape(`(${'0, '.repeat(20_000)})`), zeros.subarray(0, 0))],
      /'shape' has 20000 dimensions/,
    ],
    'an array that inflates to more than it claims': [
      [archiveOfOne('ids.npy', Buffer.concat([small, zeros]), small.length)],
      /go on after the promised/,
    ],
    'an array that claims more than it inflates to': [
      [archiveOfOne('ids.npy', long.subarray(0, 1000), long.length)],
      /unpack to 1000 bytes instead of/,
    ],
    'an archive in an archive in an archive': [
      [archiveOfOne('ids.npy', archiveOfOne('ids.npy', archiveOfOne('ids.npy', long)))],
      /magic bytes are damaged/,
    ],
    'an archive whose 60,000 entries are one': [[quoted(60_000)], /holds 60000 arrays/],
    'a pickle of a tuple of tuples of tuples': [[writeTorchFile(p.pickle(laughs))], /holds no tensors|more than/],
    'a pickle of a list in itself': [[writeTorchFile(p.pickle(p.code(']q', 0, 'h', 0, 'a')))], /holds no tensors/],
    'a pickle of a dict in itself': [
      [writeTorchFile(p.pickle(p.code('}q', 0, p.text('a'), 'h', 0, 's')))],
      /holds no tensors/,
    ],
    'a tensor of one element, repeated without number': [
      [
        writeTorchFile(p.pickle(p.tensor({ numElements: 1, shape: [2 ** 30, 3, 2], strides: [0, 0, 0] })), {
          0: new Uint8Array(4),
        }),
      ],
      /repeats the elements of a storage of 1/,
    ],
  };
  for (const [what, [parts, message]] of Object.entries(cases)) {
    it(what, () => {
      const path = folder.path('hostile');
      writeParts(path, parts);
      const flags = ['--import=tsx/esm', '--max-old-space-size=256', '--input-type=module', '-e', script, path];
      const run = spawnSync(process.execPath, flags, {
        encoding: 'utf8',
        timeout: 200_000,
        env: { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' },
      });
      assert.equal(run.status, 0, `${run.signal} ${run.stderr}`);
      const seen: { message: string | null; mebibytes: number; seconds: number } = JSON.parse(run.stdout);
      if (message === null) assert.isNull(seen.message, seen.message ?? '');
      else assert.match(seen.message ?? 'it was read', message, seen.message ?? '');
      assert.isBelow(seen.mebibytes, mostMebibytes);
      assert.isBelow(seen.seconds, mostSeconds);
      if (process.env.SHOW) console.log(what, seen);
    });
  }
});

/** An archive with many arrays, of which all have the same data: each inflates to 64 MiB. */
function quoted(count: number): Buffer {
  const one = archiveOfOne('00000.npy', long);
  const start = one.lastIndexOf(Buffer.from('PK\x01\x02', 'latin1'));
  const entry = one.subarray(start, start + 46 + 9);
  const directory = Buffer.alloc(count * entry.length, entry);
  for (let index = 0; index < count; index++) {
    directory.write(String(index).padStart(5, '0'), index * entry.length + 46);
  }
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(start, 16);
  return Buffer.concat([one.subarray(0, start), directory, end]);
}
