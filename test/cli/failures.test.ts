/** Every wrong use of the command gives one line and exit code 2. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { assert } from 'chai';
import fc from 'fast-check';
import { zipSync } from 'fflate';
import { reportFailure, UsageError } from '../../ts/cli/fail.ts';
import { commandPath, dispatchLayout, expectRefusal, forEachInPairs, succeed, temporaryFolder } from './command.ts';
import { npyFile, npyOf, plainForm, writeNpy } from './npy-writer.ts';

/** What the command prints for an error, and its exit code. */
function failure(error: unknown): { code: number; stderr: string } {
  const { write } = process.stderr;
  let stderr = '';
  process.stderr.write = (text: string | Uint8Array): boolean => {
    stderr += text;
    return true;
  };
  try {
    const code = reportFailure(error);
    return { code, stderr };
  } finally {
    process.stderr.write = write;
  }
}

describe('command line: failures', function () {
  this.timeout(60_000);
  const folder = temporaryFolder();
  const file = folder.write(
    'rows.npy',
    npyOf([
      [0, 5],
      [7, -1],
    ]),
  );
  const layersFile = [folder.write('layers.npy', npyOf([[[0, 5]], [[7, 99]]])), '--axes', 'layers,tokens,topk'];
  const sizes = ['--num-experts', '8', '--num-ranks', '4'];

  it('answers bad flags with one line', async () => {
    const cases: (readonly [string[], RegExp])[] = [
      [[], /no FILE given; see dispatch-layout --help/],
      [[...sizes], /no FILE given/],
      [[file, '--num-ranks', '4'], /--num-experts E is missing/],
      [[file, '--num-experts', '8'], /--num-ranks R is missing/],
      [[file, '--num-experts'], /'--num-experts <count>' argument missing/],
      ...['8x', '1e3', '-5', '', ' 8', '0x10', '8.0', '0', '99999999999999999999', '1048577', 'many'].map(
        (text): readonly [string[], RegExp] => [
          [file, '--num-experts', text, '--num-ranks', '4'],
          /--num-experts.*whole number from 1 to 1048576/,
        ],
      ),
      [[file, '--num-experts', '8', '--num-ranks', '65537'], /--num-ranks.*whole number from 1 to 65536/],
      [[file, ...sizes, '--ranks-per-node', '0'], /--ranks-per-node.*whole number/],
      [[file, ...sizes, '--ranks-per-node', '3'], /--ranks-per-node that divides 4, or is at least 4/],
      [
        [file, '--num-experts', '8', '--num-ranks', '3'],
        /8 experts do not divide evenly among 3 ranks\. Pass --placement linear, round_robin or a table, or --invalid-experts ignore/,
      ],
      [[file, '--num-experts', '2', '--num-ranks', '4'], /do not divide evenly/],
      [[file, ...sizes, '--layer', '0'], /--layer is for routing of several layers; .* is \[2, 2\]/],
      [[file, ...sizes, '--axes', 'tokens,layers,topk'], /is \[2, 2\], but --axes tokens,layers,topk has 3 dimensions/],
      [[...layersFile, ...sizes, '--layer', '2'], /--layer 2 is not in .*, which has layers 0 to 1/],
      [[...layersFile, ...sizes, '--layer', '-1'], /--layer.*Give the index of a layer, from 0, or 'all'/],
      [[...layersFile, ...sizes, '--layer', 'first'], /--layer.*Give the index/],
      [[file, ...sizes, '--device', 'gpu'], /--device.*Allowed choices are auto, cuda, wasm, js/],
      [[file, ...sizes, '--invalid-experts', 'skip'], /--invalid-experts.*Allowed choices are throw, ignore/],
      [[file, ...sizes, '--num-rank', '4'], /unknown option '--num-rank' \(Did you mean --num-ranks\?\)/],
      [[file, ...sizes, '--json=1'], /unknown option/],
      [[file, '-', '-', ...sizes], /only one FILE can be standard input/],
      [['-', ...sizes, '--placement', '-'], /cannot both be standard input/],
      [['doctor', 'more'], /too many arguments/],
      [['help', 'nothing'], /no such command/],
      [['doctor', '--device', 'x'], /Allowed choices/],
    ];
    await forEachInPairs(cases, async ([args, message]) => {
      expectRefusal(await dispatchLayout(args), message, JSON.stringify(args));
    });
  });

  it('answers bad files with one line', async () => {
    const floats = npyFile("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }", new Uint8Array(8));
    const evilName = zipSync({ 'a\x1b[2J\n.npy': npyOf([[1]]), 'b.npy': npyOf([[1]]) });
    const cases: (readonly [string, string | Uint8Array | null, RegExp])[] = [
      ['missing.npy', null, /missing.npy cannot be read: no such file or directory/],
      ['.', null, /is a directory, and not one that a known program writes; name the files in it/],
      ['empty.npy', '', /is empty/],
      ['text.npy', 'hello', /is of no format that is read; from Python, save with numpy\.save/],
      ['floats.npy', floats, /float32.*the ids that top-k returns/],
      ['short.npy', npyOf([[1, 2]]).subarray(0, -1), /truncated/],
      ['flat.npy', writeNpy([1n, 2n], [2]), /is \[2\]; give \[tokens, topk\], or \[layers, tokens, topk\]/],
      ['deep.npy', writeNpy([1n], [1, 1, 1, 1, 1]), /is \[1, 1, 1, 1, 1\]; give/],
      ['scalar.npy', writeNpy([1n], []), /is \[\]; give/],
      ['many.npy', writeNpy([], [20_000, 0, 2]), /is \[20000, 0, 2\], and nothing in it says/],
      [
        'two.npz',
        zipSync({ 'a.npy': npyOf([[1]]), 'b.npy': npyOf([[1]]) }),
        /holds 2 arrays of integers that could be routing \(a: int64 \[1, 1\], b: int64 \[1, 1\]\); choose one with --array NAME/,
      ],
      ['evil.npz', evilName, /holds 2 arrays of integers/],
      ['bad.json', '[[1, 2\n\x1b[31m', /not valid JSON/],
      [
        'id.json',
        '[[0, 1], [2, 99]]',
        /id.json, token 1, slot 1: 99 is not an expert in \[0, 8\); pass --empty-id 99 if/,
      ],
      ['wide.json', '[[4294967301]]', /token 0, slot 0: 4294967301 is not an expert/],
      ['negative.json', '[[-2]]', /token 0, slot 0: -2 is not an expert/],
    ];
    await forEachInPairs(cases, async ([name, content, message]) => {
      const path = content === null ? folder.path(name) : folder.write(name, content);
      expectRefusal(await dispatchLayout([path, ...sizes]), message, name);
      if (content !== null && name !== 'empty.npy') {
        const asInput = new RegExp(message.source.replace(name, 'standard input'));
        expectRefusal(await dispatchLayout(['-', ...sizes], content), asInput, `${name} as standard input`);
      }
    });
    expectRefusal(await dispatchLayout(['-', ...sizes]), /standard input is empty/, 'no input');
    const layersFirst = ['-', ...sizes, '--axes', 'layers,tokens,topk'];
    const tooMany = await dispatchLayout(layersFirst, writeNpy([], [20_000, 0, 2]));
    expectRefusal(tooMany, /has 20000 layers, and the limit is 10000; .*with --axes/, 'many layers');
    expectRefusal(await dispatchLayout(layersFirst, writeNpy([], [0, 5, 2])), /has no layers/, 'no layers');
  });

  it('names the layer of a bad id', async () => {
    for (const args of [layersFile, [...layersFile, '--layer', '1']]) {
      expectRefusal(
        await dispatchLayout([...args, ...sizes]),
        /layers.npy, layer 1, token 0, slot 1: 99 is not an expert/,
        args.join(' '),
      );
    }
    await succeed([...layersFile, ...sizes, '--layer', '0']);
  });

  it('answers damaged files with one line, or reads them', async () => {
    const bytes = npyOf([[1, 2]]);
    const damage = fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 });
    await forEachInPairs(fc.sample(damage, { numRuns: 24, seed: 5 }), async (changes) => {
      const damaged = Buffer.from(bytes);
      for (const [position, byte] of changes) damaged[position] = byte;
      const finished = await dispatchLayout(['-', ...sizes], damaged);
      if (finished.code !== 0) expectRefusal(finished, /./, JSON.stringify(changes));
    });
  });

  it('answers a full disk with one line', function () {
    if (!existsSync('/dev/full')) this.skip();
    for (const command of [`"$0" "$@" > /dev/full`, `"$0" "$@" --out /dev/full`]) {
      const { status, stderr } = spawnSync('sh', ['-c', command, process.execPath, commandPath, file, ...sizes], {
        encoding: 'utf8',
        env: { ...process.env, NODE_OPTIONS: '' },
      });
      assert.match(stderr, /^dispatch-layout: cannot write .*: no space left on device\n$/);
      assert.strictEqual(status, 2);
    }
  });

  it('answers bad placements with one line', async () => {
    const cases: (readonly [string | Uint8Array, RegExp])[] = [
      ['[0, 1, 2]', /placement-0 has the ranks of 3 experts, but --num-experts is 8/],
      ['[0, 1, 2, 3, 0, 1, 2, 4]', /placement-1, expert 7: 4 is not a rank in \[0, 4\)/],
      ['[0, 1, 2, 3, 0, 1, -1, -2]', /expert 7: -2 is not a rank in \[0, 4\), nor -1 for none/],
      ['[[0, 1]]', /the table of layer 0 has the ranks of 2 experts, not of 8/],
      ['[[[0, 1]]]', /layer 0/],
      ['[0.5]', /not an integer/],
      [
        writeNpy([...new Array(7).fill(0n), 2n ** 63n], [8], { ...plainForm, signed: false }),
        /expert 7: 9223372036854775808 is not a rank/,
      ],
      [
        npyFile("{'descr': '<f4', 'fortran_order': False, 'shape': (8,), }", new Uint8Array(32)),
        /float32.*not integers/,
      ],
      ['', /is empty/],
    ];
    await forEachInPairs([...cases.entries()], async ([index, [content, message]]) => {
      const placement = folder.write(`placement-${index}`, content);
      expectRefusal(await dispatchLayout([file, ...sizes, '--placement', placement]), message, `placement ${index}`);
    });
    const missing = await dispatchLayout([file, ...sizes, '--placement', folder.path('none.json')]);
    expectRefusal(missing, /cannot read .*none.json: no such file/, 'no placement');
  });

  it('gives the reason if a device is not available', async () => {
    const finished = await dispatchLayout([file, ...sizes, '--device', 'cuda']);
    if (finished.code === 0) return; // This machine has the device.
    expectRefusal(finished, /device 'cuda' is not available, because/, 'cuda');
    const several = await dispatchLayout([file, ...sizes.slice(0, 2), '--num-ranks', '2,4', '--device', 'cuda']);
    expectRefusal(several, /device 'cuda' is not available, because/, 'cuda, several numbers of ranks');
  });

  it('says what to do where the system allows fewer open files', function () {
    if (process.platform === 'win32') this.skip();
    const files = Array.from({ length: 100 }, (_, index) => folder.write(`shard-${index}.json`, '[[0, 1], [2, 3]]'));
    const limited = ['-c', 'ulimit -n 80; exec "$@"', 'sh', process.execPath, commandPath, 'check', ...files];
    const { status, stderr } = spawnSync('sh', limited, { encoding: 'utf8' });
    assert.match(stderr, /cannot be read: too many open files; give fewer files at once, or allow more open files/);
    assert.strictEqual(status, 2);
  });

  it('suggests the command that a mistyped name resembles, whatever comes after it', async () => {
    const cases: (readonly [string[], string])[] = [
      [['docter'], "'docter' is neither a file nor a command (Did you mean doctor?)"],
      [['Doctor', '--json'], "'Doctor' is neither a file nor a command (Did you mean doctor?)"],
      [['--json', 'docter'], "'docter' is neither a file nor a command (Did you mean doctor?)"],
      [['docter', ...sizes], "'docter' is neither a file nor a command (Did you mean doctor?)"],
      [['permut', 'routing.npy'], "'permut' is neither a file nor a command (Did you mean permute?)"],
      [['generat', 'out.npy'], "'generat' is neither a file nor a command (Did you mean generate?)"],
      [['gnerate', '-', '--num-tokens', '5'], "'gnerate' is neither a file nor a command (Did you mean generate?)"],
      [['halp', 'doctor'], "'halp' is neither a file nor a command (Did you mean help?)"],
      [['help', 'docter'], "'docter' is not a command (Did you mean doctor?)"],
    ];
    await forEachInPairs(cases, async ([args, message]) => {
      const finished = await dispatchLayout(args);
      expectRefusal(finished, /./, args.join(' '));
      assert.strictEqual(finished.stderr, `dispatch-layout: ${message}\n`);
    });
    // A word that is the name of a file is not a command. A word that resembles no command is a file that is missing.
    const inFolder = spawnSync(process.execPath, [commandPath, 'docter'], { cwd: folder.path('.'), encoding: 'utf8' });
    assert.match(inFolder.stderr, /Did you mean doctor/);
    folder.write('docter', '[[0, 5]]');
    const args = [commandPath, 'docter', ...sizes];
    assert.strictEqual(spawnSync(process.execPath, args, { cwd: folder.path('.') }).status, 0);
    for (const missing of ['no-such-file', './doctor', 'help.npy']) {
      expectRefusal(await dispatchLayout([missing, ...sizes]), /cannot be read: no such file/, missing);
    }
  });

  it('suggests the flag that a mistyped one resembles, and lists the choices of a flag', async () => {
    await forEachInPairs(
      [
        [[file, '--num-expert', '8'], /unknown option '--num-expert' \(Did you mean --num-experts\?\)/],
        [['generate', '-', '--sead', '1'], /unknown option '--sead' \(Did you mean --seed\?\)/],
        [['doctor', '--jsn'], /unknown option '--jsn' \(Did you mean --json\?\)/],
        [[file, ...sizes, '--device', 'wsam'], /argument 'wsam' is invalid. Allowed choices are auto, cuda, wasm, js/],
        [['generate', '-', '--dtype', 'int46'], /argument 'int46' is invalid. Allowed choices are int64, int32/],
      ] as const,
      async ([args, message]) => expectRefusal(await dispatchLayout(args), message, args.join(' ')),
    );
  });

  it('shows the stack of a bug, with exit code 70', () => {
    let shown = failure(new TypeError('x is not a function'));
    assert.strictEqual(shown.code, 70);
    assert.match(shown.stderr, /^dispatch-layout: this is a bug.*\nTypeError: x is not a function\n {4}at /);
    shown = failure('thrown');
    assert.strictEqual(shown.code, 70);
    assert.match(shown.stderr, /\nthrown\n$/);
  });

  it('shows the stack of an error that nothing catches, also while the library is loaded', () => {
    const run = (...args: string[]) =>
      spawnSync(process.execPath, args, { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } });
    for (const mistake of ["throw new TypeError('unexpected')", "Promise.reject(new TypeError('unexpected'))"]) {
      const code = `
        const { write } = process.stdout;
        process.stdout.write = (...output) => {
          setImmediate(() => { ${mistake}; });
          return write.apply(process.stdout, output);
        };`;
      const { status, stderr } = run(
        `--import=data:text/javascript,${encodeURIComponent(code)}`,
        commandPath,
        'doctor',
      );
      assert.match(stderr, /^dispatch-layout: this is a bug.*\nTypeError: unexpected\n {4}at /, mistake);
      assert.strictEqual(status, 70, mistake);
    }
    const { status, stdout, stderr } = run(folder.write('alone.mjs', readFileSync(commandPath)), 'doctor');
    assert.match(stderr, /^dispatch-layout: this is a bug.*\nError.*: Cannot find module '.*index\.mjs'/);
    assert.strictEqual(status, 70);
    assert.strictEqual(stdout, '');
  });

  it('does not report a lack of memory as a bug', () => {
    for (const message of [
      'Array buffer allocation failed',
      'Invalid typed array length: 5',
      'Invalid string length',
    ]) {
      const { code, stderr } = failure(new RangeError(message));
      assert.match(stderr, /^dispatch-layout: not enough memory; .*\n$/);
      assert.strictEqual(code, 2);
    }
    assert.strictEqual(failure(new RangeError('Maximum call stack size exceeded')).code, 70);
  });

  it('keeps hostile names on one line', () => {
    const shown = failure(new UsageError('a\x1b[2J\r\nb\u2028c\x9bd.'));
    assert.deepEqual(shown, { code: 2, stderr: 'dispatch-layout: a [2J b c d\n' });
  });

  it('prints help', async () => {
    for (const args of [
      ['--help'],
      ['-h'],
      ...['permute', 'receive', 'check', 'place'].map((command) => [command, '--help']),
      ['generate', '--help'],
      ['doctor', '--help'],
      ['help', 'generate'],
    ]) {
      const text = await succeed(args);
      assert.match(text, /^Usage: dispatch-layout/);
      for (const line of text.split('\n')) assert.isAtMost(line.length, 80, line);
    }
    assert.match(
      await succeed(['--help']),
      /Examples:\n {2}dispatch-layout routing.npy --num-experts 64 --num-ranks 8/,
    );
    assert.match(await succeed(['--help']), /^ {2}permute .* compute the order of rows/m);
    assert.match(await succeed(['--version']), /^\d+\.\d+\.\d+\n$/);
    assert.isNotEmpty(commandPath);
  });
});
