/** Hostile files of routing: each is opened in a process of its own, and ends in one clear error in bounded memory. */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { assert } from 'chai';
import { temporaryFolder } from '../cli/command.ts';
import * as p from '../support/pickle-writer.ts';
import { safetensorsFile } from '../support/safetensors-writer.ts';
import { writeTorchFile } from '../support/torch-writer.ts';

const library = fileURLToPath(new URL('../../ts/routing/index.ts', import.meta.url));

/**
 * Opens a file, and prints the error and the most memory that the process had, in MiB. What `resourceUsage` says would
 * count the process that started this one, too.
 */
const script = `
import { readFileSync } from 'node:fs';
import { openRouting } from ${JSON.stringify(library)};
const message = await openRouting(process.argv[1]).then(() => 'opened', (error) => error.name + ': ' + error.message);
const [, kibibytes] = /VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'latin1'));
console.log(JSON.stringify({ message, mebibytes: Number(kibibytes) / 1024 }));
`;

const repeated = (part: p.Pickled, bytes: number) => Buffer.alloc(bytes - (bytes % part.length), part);

/** A file whose pickle is a list of the same instructions again and again. */
function pickled(part: p.Pickled, mebibytes: number): Buffer {
  return writeTorchFile(p.pickle(p.code(']', repeated(part, mebibytes * 2 ** 20))));
}

/** An instruction with each of many numbers of 32 bits, followed by others. */
function counted(instruction: string, rest: string): p.Pickled {
  const each = Buffer.alloc(3_000_000 * (5 + rest.length), p.code(instruction, 0, 0, 0, 0, rest));
  for (let i = 0; i < 3_000_000; i++) each.writeUInt32LE(i, i * (5 + rest.length) + 1);
  return each;
}

/** How many MiB a process takes at most. Node.js with the compiler of TypeScript takes 75. */
const mostMebibytes = 300;

describe('hostile files of routing', function () {
  this.timeout(300_000);
  // Other systems do not say how much memory a process had.
  if (!existsSync('/proc/self/status')) this.pending = true;
  const folder = temporaryFolder();

  const cases: Record<string, [file: () => Buffer, message: RegExp]> = {
    'lists in a list': [() => pickled(p.code(']a'), 64), /makes objects that take more than 134217728 bytes/],
    'dicts in a list': [() => pickled(p.code('}a'), 64), /makes objects that take more than/],
    'short texts': [() => pickled(p.code(p.text('x'), 'a'), 64), /makes objects that take more than/],
    'long texts': [() => pickled(p.code(p.text('☃'.repeat(10_000)), 'a'), 256), /holds no tensors/],
    'twenty million numbers': [() => pickled(p.code('K', 1, 'a'), 60), /holds no tensors/],
    'tuples of many numbers': [() => pickled(p.code('(', Buffer.alloc(60_000, 'N'), 'ta'), 64), /holds no tensors/],
    'integers of 255 bytes': [
      () => pickled(p.code(0x8a, 255, Buffer.alloc(255, 1), 'a'), 256),
      /makes objects that take/,
    ],
    'entries of a dict': [() => writeTorchFile(p.pickle(p.code('}', counted('J', 'Ns')))), /makes objects that take/],
    'references to objects': [() => writeTorchFile(p.pickle(p.code('N', counted('r', '')))), /makes objects that take/],
    'a deflated pickle that is long': [
      () => writeTorchFile(p.pickle(p.code(']', repeated(p.code('Na'), 2 ** 27))), {}, { isDeflated: true }),
      /record data\.pkl has \d+ bytes, over the limit of 67108864/,
    ],
    'a header of 90 MB of metadata': [
      () => safetensorsFile(`{"__metadata__":{${'"k":"v",'.repeat(11_000_000)}"k":"v"}}`),
      /holds no tensors/,
    ],
    'a shape of 20 million dimensions': [
      () => safetensorsFile(`{"a":{"dtype":"U8","shape":[${'1,'.repeat(20_000_000)}1],"data_offsets":[0,1]}}`),
      /a\.shape has more than 64 integers/,
    ],
    'a header of a million tensors': [
      () => {
        const entry = (index: number) => `"a${index}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`;
        return safetensorsFile(`{${Array.from({ length: 1_000_000 }, (_, index) => entry(index)).join(',')}}`);
      },
      /a131072 is one of more than 131072 tensors/,
    ],
    'thousands of empty samples with thousands of layers': [
      () => {
        const entry = (index: number) =>
          `"rollout_routed_experts.${index}":{"dtype":"U8","shape":[0,9999,2],"data_offsets":[0,0]}`;
        return safetensorsFile(`{${Array.from({ length: 2000 }, (_, index) => entry(index)).join(',')}}`);
      },
      /has 2000 arrays with 19998000 layers together, and the limit is 2097152/,
    ],
    'a header of 90 MB of brackets': [() => safetensorsFile(`{"a":{"b":${'['.repeat(90_000_000)}`), /nested more than/],
  };
  for (const [what, [file, message]] of Object.entries(cases)) {
    it(`take bounded memory: ${what}`, () => {
      const path = folder.path('file');
      writeFileSync(path, file());
      const run = spawnSync(process.execPath, ['--import=tsx/esm', '--input-type=module', '-e', script, path], {
        encoding: 'utf8',
        env: { ...process.env, NODE_OPTIONS: '', NODE_V8_COVERAGE: '' },
      });
      assert.equal(run.status, 0, run.stderr);
      const seen: { message: string; mebibytes: number } = JSON.parse(run.stdout);
      assert.match(seen.message, message);
      assert.match(seen.message, /^RoutingError: /);
      assert.isBelow(seen.mebibytes, mostMebibytes);
    });
  }
});
