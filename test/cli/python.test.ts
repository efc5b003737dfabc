/**
 * The command line together with numpy, and at a terminal that Python provides. Skipped if there is no Python or no
 * numpy.
 */
import { readFileSync } from 'node:fs';
import { assert } from 'chai';
import { commandPath, python, requirePython, succeed, temporaryFolder } from './command.ts';

const writeInputs = `
import sys, numpy as np
folder = sys.argv[1]
ids = np.random.default_rng(0).integers(0, 64, (3, 50, 6))
for dtype in ['int64', 'int32', 'int16', 'int8', 'uint64', 'uint32', 'uint16', 'uint8', '>i8', '>i4', '>u2']:
    np.save(f'{folder}/{dtype.replace(">", "big-")}.npy', ids.astype(dtype))
np.save(f'{folder}/fortran.npy', np.asfortranarray(ids))
np.savez(f'{folder}/stored.npz', ids=ids, scores=ids / 7)
np.savez_compressed(f'{folder}/packed.npz', ids=ids)
`;

const checkOutput = `
import sys, numpy as np
ids, out = np.load(sys.argv[1]), np.load(sys.argv[2])
num_experts, num_ranks, per_node = 64, 16, 8
assert sorted(out.files) == ['is_token_in_rank', 'num_tokens_per_expert', 'num_tokens_per_rank', 'num_tokens_per_rdma_rank']
mask = np.stack([(ids // (num_experts // num_ranks) == rank).any(-1) for rank in range(num_ranks)], -1)
nodes = mask.reshape(*mask.shape[:-1], num_ranks // per_node, per_node).any(-1)
experts = np.stack([(ids == expert).sum((-2, -1)) for expert in range(num_experts)], -1)
expected = dict(is_token_in_rank=mask, num_tokens_per_rank=mask.sum(-2), num_tokens_per_rdma_rank=nodes.sum(-2),
                num_tokens_per_expert=experts)
for name, value in expected.items():
    assert out[name].dtype == (np.bool_ if name == 'is_token_in_rank' else np.int32), (name, out[name].dtype)
    assert out[name].shape == value.shape, (name, out[name].shape, value.shape)
    assert (out[name] == value).all(), name
print('equal')
`;

/** Runs a command at a terminal, and prints its output. */
const atTerminal = `
import os, pty, sys
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))
`;

/** Routing of random ids does not say itself which dimension is that of the layers. */
const layersFirst = ['--axes', 'layers,tokens,topk'];

describe('command line: with numpy', function () {
  this.timeout(60_000);
  const folder = temporaryFolder();
  before(function () {
    requirePython(this, 'numpy');
    python(writeInputs, folder.path('.'));
  });

  it('reads what numpy saves', async () => {
    const args = ['--num-experts', '64', '--num-ranks', '16', '--json', ...layersFirst];
    const total = async (name: string, ...more: string[]): Promise<unknown> => {
      const report = JSON.parse(await succeed([folder.path(name), ...args, ...more])) as { total: unknown };
      return report.total;
    };
    const expected = await total('int64.npy');
    for (const name of [
      'int32',
      'int16',
      'int8',
      'uint64',
      'uint32',
      'uint16',
      'uint8',
      'big-i8',
      'big-i4',
      'big-u2',
      'fortran',
    ]) {
      assert.deepEqual(await total(`${name}.npy`), expected, name);
    }
    assert.deepEqual(await total('stored.npz', '--array', 'ids'), expected);
    assert.deepEqual(await total('packed.npz'), expected);
  });

  it('writes what numpy.load reads, with the right types and numbers', async () => {
    const out = folder.path('out.npz');
    await succeed([folder.path('int64.npy'), '--num-experts', '64', '--num-ranks', '16', '--out', out, ...layersFirst]);
    assert.strictEqual(python(checkOutput, folder.path('int64.npy'), out), 'equal\n');
  });

  it('writes a mask of bits that numpy unpacks', async () => {
    const files = ['bytes', 'bits'].map((mask) => folder.path(`${mask}.npz`));
    for (const [index, mask] of ['bytes', 'bits'].entries()) {
      const sizes = ['--num-experts', '72', '--num-ranks', '18', '--ranks-per-node', '9', ...layersFirst];
      await succeed([folder.path('int64.npy'), ...sizes, '--mask', mask, '--out', files[index]]);
    }
    const printed = python(
      `
import sys, numpy as np
expected, packed = [np.load(file)['is_token_in_rank'] for file in sys.argv[1:]]
print(packed.dtype, packed.shape, (np.unpackbits(packed, axis=-1, bitorder='little')[..., :18] == expected).all())
`,
      ...files,
    );
    assert.strictEqual(printed, 'uint8 (3, 50, 3) True\n');
  });

  it('exchanges files with numpy without tokens, within one node, and with a placement', async () => {
    const out = folder.path('corners.npz');
    const sizes = ['--num-experts', '8', '--num-ranks', '4', '--out', out];
    const load = (file: string) =>
      python(
        `
import sys, numpy as np
with np.load(sys.argv[1]) as layout:
    print({name: (str(layout[name].dtype), layout[name].shape, layout[name].astype(int).tolist()) for name in sorted(layout.files)})
`,
        file,
      );
    const saved = folder.path('empty.npy');
    python('import sys, numpy as np; np.save(sys.argv[1], np.empty((0, 2), np.int64))', saved);
    await succeed([saved, ...sizes]);
    assert.strictEqual(
      load(out),
      "{'is_token_in_rank': ('bool', (0, 4), []), 'num_tokens_per_expert': ('int32', (8,), [0, 0, 0, 0, 0, 0, 0, 0]), " +
        "'num_tokens_per_rank': ('int32', (4,), [0, 0, 0, 0])}\n",
    );

    python(
      `
import sys, numpy as np
np.save(sys.argv[1], np.array([[0, 7], [-1, 1]], np.int16))
np.save(sys.argv[2], np.arange(8, dtype=np.uint8) % 4)
`,
      saved,
      folder.path('placement.npy'),
    );
    await succeed([saved, ...sizes, '--placement', folder.path('placement.npy'), '--ranks-per-node', '2']);
    assert.strictEqual(
      load(out),
      "{'is_token_in_rank': ('bool', (2, 4), [[1, 0, 0, 1], [0, 1, 0, 0]]), " +
        "'num_tokens_per_expert': ('int32', (8,), [1, 1, 0, 0, 0, 0, 0, 1]), " +
        "'num_tokens_per_rank': ('int32', (4,), [1, 1, 0, 1]), " +
        "'num_tokens_per_rdma_rank': ('int32', (2,), [2, 1])}\n",
    );
  });

  it('computes layouts of generated routing that numpy reads', async () => {
    const routing = folder.path('generated.npy');
    const out = folder.path('generated.npz');
    await succeed([
      'generate',
      routing,
      '--num-experts',
      '64',
      '--num-topk',
      '6',
      '--num-groups',
      '2',
      '--empty-share',
      '0.1',
    ]);
    await succeed([routing, '--num-experts', '64', '--num-ranks', '16', '--out', out]);
    assert.strictEqual(python(checkOutput, routing, out), 'equal\n');
    assert.isAbove(readFileSync(out).length, 4096 * 16);
  });
});

describe('command line: at a terminal', function () {
  this.timeout(60_000);
  before(function () {
    requirePython(this, 'pty');
  });
  const folder = temporaryFolder();

  it('has bold headings, but not with NO_COLOR', () => {
    const file = folder.write('rows.json', '[[0, 5], [3, -1]]');
    const run = (...environment: string[]): string =>
      python(
        atTerminal,
        'env',
        '-i',
        ...environment,
        process.execPath,
        commandPath,
        file,
        '--num-experts',
        '8',
        '--num-ranks',
        '4',
      );
    assert.include(run('TERM=xterm-256color'), '\x1b[1mTokens per rank');
    for (const environment of ['NO_COLOR=1', 'TERM=dumb', 'CI=true']) {
      assert.notInclude(run('TERM=xterm-256color', environment), '\x1b', environment);
    }
  });

  it('shows the progress of long work, removes it at the end, and writes no file to the terminal', () => {
    const run = (...args: string[]): string =>
      python(
        atTerminal,
        'sh',
        '-c',
        '"$@"; echo "exit code $?"',
        'sh',
        process.execPath,
        commandPath,
        'generate',
        ...args,
      );
    const shown = run(folder.path('long.npy'), '--num-tokens', '10000000', '--dtype', 'uint8');
    assert.match(shown, /generating .*%, [\d.,]+ (million )?tokens\/s, \d+ s left/);
    assert.match(shown, /wrote .*\r\nexit code 0\r\n$/);
    assert.match(run('-'), /standard output is a terminal; redirect it, or name a file\r\nexit code 2/);
  });
});
