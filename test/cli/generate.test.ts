/** `dispatch-layout generate` and `doctor`. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { assert } from 'chai';
import type { DeviceDescription } from 'dispatch-layout';
import { Random } from '../../ts/cli/generate/random.ts';
import { sourceOfBytes } from '../../ts/routing/byte-source.ts';
import { openNpy } from '../../ts/routing/formats/npy.ts';
import { readIntegers } from '../../ts/routing/read-integers.ts';
import { dispatchLayout, expectRefusal, forEachInPairs, succeed, temporaryFolder } from './command.ts';

/** The rows of a generated file, one layer after the other. */
async function generate(...args: string[]): Promise<{ shape: readonly number[]; dtype: string; rows: number[][] }> {
  const { code, stdout, stderr } = await dispatchLayout(['generate', '-', ...args]);
  assert.strictEqual(stderr, '');
  assert.strictEqual(code, 0);
  const { data, shape } = await readIntegers(stdout);
  const { type: dtype } = await openNpy(sourceOfBytes(stdout, 'generated'), '');
  const numTopk = shape[shape.length - 1];
  const ids = Array.from(data, Number);
  return {
    shape,
    dtype,
    rows: Array.from({ length: ids.length / numTopk }, (_, i) => ids.slice(i * numTopk, (i + 1) * numTopk)),
  };
}

function countsOf(rows: readonly number[][], numExperts: number): number[] {
  const counts = new Array<number>(numExperts).fill(0);
  for (const id of rows.flat()) if (id >= 0) counts[id]++;
  return counts;
}

describe('command line: generate', function () {
  this.timeout(30_000);
  const folder = temporaryFolder();

  it("makes the routing of DeepEP's benchmark by default: different experts in every row, all equally likely", async () => {
    const { shape, dtype, rows } = await generate();
    assert.deepEqual(shape, [4096, 8]);
    assert.strictEqual(dtype, 'int64');
    for (const row of rows) {
      assert.strictEqual(new Set(row).size, 8);
      assert.isTrue(row.every((id) => id >= 0 && id < 256));
    }
    // The expected count of each expert is 128, with a standard deviation of 11.
    for (const count of countsOf(rows, 256)) assert.closeTo(count, 128, 70);
  });

  it('draws workloads: what the flags say is popular, and a file for each rank', async () => {
    const hot = await generate('--workload', 'k-hot', '--num-hot', '4', '--hot-share', '0.4', '--num-tokens', '4096');
    const counts = countsOf(hot.rows, 256).sort((left, right) => right - left);
    const share = counts.slice(0, 4).reduce((sum, count) => sum + count, 0) / (4096 * 8);
    assert.closeTo(share, 0.4, 0.01);
    assert.isBelow(counts[4], counts[3] / 4);

    const flags = ['--workload', 'balanced', '--num-ranks', '3', '--ragged', '1.5', '--num-tokens', '100'];
    const output = await succeed(['generate', folder.path('of{rank}.npy'), ...flags]);
    const tokens = [...output.matchAll(/wrote .*of(\d)\.npy: int64 \[(\d+), 8\]/g)].map(([, rank, count]) => [
      +rank,
      +count,
    ]);
    assert.deepStrictEqual(
      tokens.map(([rank]) => rank),
      [0, 1, 2],
    );
    assert.strictEqual(
      tokens.reduce((sum, [, count]) => sum + count, 0),
      300,
    );
    assert.strictEqual(Math.max(...tokens.map(([, count]) => count)), 150);
    const [first, second] = await Promise.all(
      [0, 1].map((rank) => readIntegers(readFileSync(folder.path(`of${rank}.npy`)))),
    );
    assert.notStrictEqual(String(first.data.slice(0, 8)), String(second.data.slice(0, 8)));
  });

  it('refuses flags of a workload that would change nothing', async () => {
    await forEachInPairs(
      [
        [['--sigma', '1'], /--sigma is a flag of workloads; pass --workload, too/],
        [['--workload', 'balanced', '--sigma', '1'], /--sigma is no flag of --workload balanced, which has none/],
        [['--workload', 'burst', '--skew', '1'], /--skew are no flags of --workload burst/],
        [['--workload', 'hot-rank'], /--num-ranks R is missing/],
        [['--workload', 'balanced', '--ragged', '2'], /--ragged needs a file for each rank/],
        [['--workload', 'k-hot', '--num-hot', '1'], /make the workload less uneven/],
        [['--workload', 'nothing'], /Allowed choices are balanced, k-hot/],
      ] as [string[], RegExp][],
      async ([args, message]) => {
        const name = folder.path('refused.npy');
        expectRefusal(await dispatchLayout(['generate', name, ...args]), message, args.join(' '));
        assert.isFalse(existsSync(name));
      },
    );
  });

  it('gives the same bytes for the same flags on every machine, and different ones for other seeds and layers', async () => {
    const hash = async (...args: string[]): Promise<string> => {
      const { stdout } = await dispatchLayout(['generate', '-', '--num-tokens', '64', ...args]);
      return createHash('sha256').update(stdout).digest('hex').slice(0, 16);
    };
    assert.strictEqual(await hash(), '534d60af0fac8daf');
    assert.strictEqual(
      await hash('--num-groups', '8', '--skew', '0.7', '--empty-share', '0.1', '--seed', '9007199254740991'),
      'fb8616e3266d4838',
    );
    assert.notStrictEqual(await hash('--seed', '1'), await hash('--seed', '4294967297'));
    const { rows } = await generate('--layers', '2', '--num-tokens', '64');
    assert.notDeepEqual(rows.slice(0, 64), rows.slice(64));
    assert.deepEqual(
      rows.slice(0, 64),
      (await generate('--num-tokens', '64')).rows,
      'a layer does not depend on the others',
    );
  });

  it('sends a token only to its best groups', async () => {
    for (const [args, most] of [
      [['--num-groups', '8'], 4],
      [['--num-groups', '2'], 2],
      [['--num-groups', '8', '--topk-groups', '1'], 1],
    ] as const) {
      const numGroups = Number(args[1]);
      const { rows } = await generate('--num-tokens', '500', ...args);
      const groups = rows.map((row) => new Set(row.map((id) => Math.floor(id / (256 / numGroups)))).size);
      assert.strictEqual(Math.max(...groups), most);
      for (const row of rows) assert.strictEqual(new Set(row).size, 8);
    }
  });

  it("skews popularity by Zipf's law, with the popular experts at random places", async () => {
    const share = async (skew: string): Promise<number> => {
      const { rows } = await generate('--num-experts', '64', '--num-topk', '1', '--skew', skew);
      const counts = countsOf(rows, 64);
      return Math.max(...counts) / (4096 / 64);
    };
    assert.isBelow(await share('0'), 2);
    // The most popular expert has 64 / (1 + 1/2 + ... + 1/64) = 13.5 times the mean.
    assert.closeTo(await share('1'), 13.5, 2);
    assert.isAbove(await share('3'), 45);
  });

  it('leaves a share of the slots empty', async () => {
    const { rows } = await generate('--empty-share', '0.25');
    assert.closeTo(rows.flat().filter((id) => id === -1).length / (4096 * 8), 0.25, 0.02);
    assert.isTrue((await generate('--empty-share', '1', '--num-tokens', '5')).rows.flat().every((id) => id === -1));
  });

  it('writes every type and shape', async () => {
    await forEachInPairs(['int64', 'int32', 'int16', 'int8', 'uint32', 'uint16', 'uint8'], async (dtype) => {
      const result = await generate('--dtype', dtype, '--num-experts', '128', '--num-tokens', '10', '--layers', '3');
      assert.deepEqual(result.shape, [3, 10, 8]);
      assert.strictEqual(result.dtype, dtype);
    });
    assert.deepEqual((await generate('--num-tokens', '0')).shape, [0, 8]);
    assert.deepEqual((await generate('--num-topk', '0', '--num-tokens', '3')).shape, [3, 0]);
    assert.deepEqual((await generate('--layers', '1', '--num-tokens', '2')).shape, [1, 2, 8]);
  });

  it('writes a file that the command reads', async () => {
    const path = folder.path('routing.npy');
    const said = await succeed(['generate', path, '--num-tokens', '100', '--num-groups', '4']);
    assert.match(said, /^wrote .*routing.npy: int64 \[100, 8\], 256 experts, seed 0\n$/);
    assert.strictEqual(readFileSync(path).length % 8, 0);
    const report = JSON.parse(await succeed([path, '--num-experts', '256', '--num-ranks', '32', '--json'])) as {
      numTokens: number;
    };
    assert.strictEqual(report.numTokens, 100);
  });

  it('refuses impossible flags', async () => {
    const cases: (readonly [string[], RegExp])[] = [
      [['generate'], /missing required argument 'file'/],
      [['generate', '-', '--num-topk', '300'], /--num-topk 300 is more than the 256 experts that there are/],
      [
        ['generate', '-', '--num-groups', '8', '--topk-groups', '1', '--num-topk', '33'],
        /the 32 experts that are in 1 of 8 groups/,
      ],
      [['generate', '-', '--num-groups', '3'], /--num-groups 3 does not divide --num-experts 256/],
      [['generate', '-', '--num-groups', '2', '--topk-groups', '3'], /--topk-groups 3 is more than --num-groups 2/],
      [['generate', '-', '--dtype', 'int8'], /--dtype int8 holds ids up to 127/],
      [['generate', '-', '--dtype', 'uint8', '--empty-share', '0.1'], /--dtype uint8 cannot hold the -1/],
      [['generate', '-', '--dtype', 'float32'], /Allowed choices are int64/],
      [['generate', '-', '--empty-share', '1.5'], /--empty-share.*number from 0 to 1/],
      [['generate', '-', '--empty-share', '.'], /number from 0 to 1/],
      [['generate', '-', '--skew', '-1'], /--skew.*number from 0 to 10/],
      [['generate', '-', '--skew', '1e1'], /--skew.*number from 0 to 10/],
      [['generate', '-', '--seed', '9007199254740992'], /--seed.*whole number from 0/],
      [['generate', '-', '--layers', '0'], /--layers.*whole number from 1/],
      [['generate', '-', '--num-tokens', '2000000000'], /over the limit of 2 GiB/],
      [['generate', folder.path('no/such.npy')], /cannot write .*: no such file or directory/],
    ];
    await forEachInPairs(cases, async ([args, message]) => {
      expectRefusal(await dispatchLayout(args), message, args.join(' '));
    });
  });

  it('has random numbers that are uniform', () => {
    const random = new Random(7, 0);
    const draws = Array.from({ length: 20_000 }, () => random.uniform());
    assert.isTrue(draws.every((draw) => draw > 0 && draw < 1));
    assert.closeTo(draws.reduce((sum, draw) => sum + draw, 0) / draws.length, 0.5, 0.01);
  });
});

describe('command line: doctor', function () {
  this.timeout(30_000);

  it('reports every device, for people and for programs', async () => {
    const text = await succeed(['doctor']);
    assert.match(text, /^dispatch-layout \d+\.\d+\.\d+, Node\.js \d+\.\d+\.\d+/);
    for (const device of ['cuda', 'wasm', 'js'])
      assert.match(text, new RegExp(`^[* ] ${device} +(not )?available`, 'm'));
    assert.strictEqual(text.match(/^\* /gm)?.length, 1, 'one device is chosen');
    for (const line of text.split('\n')) assert.isAtMost(line.length, 80, line);
    assert.include(text, `Versions: node ${process.versions.node}, v8 ${process.versions.v8}`);

    const report = JSON.parse(await succeed(['doctor', '--json', '--device', 'js'])) as {
      versions: { library: string; node: string };
      platform: string;
      requested: string;
      devices: DeviceDescription[];
    };
    assert.strictEqual(report.versions.node, process.versions.node);
    assert.strictEqual(report.requested, 'js');
    assert.deepEqual(
      report.devices.filter((device) => device.chosen).map((device) => device.device),
      ['js'],
    );
    assert.isTrue(report.devices.every((device) => device.reason !== ''));
  });

  it('tells the code, the cause and the remedy of a device that cannot be used', async () => {
    const environment = { DISPATCH_LAYOUT_CUDA_ADDON: '/nowhere.node' };
    const text = await succeed(['doctor'], '', environment);
    assert.match(text, /^ {2}cuda {2}not available: ADDON_MISSING$/m);
    assert.match(text, /^ {8}Cause: Error: Cannot find module '\/nowhere\.node'$/m);
    assert.match(text, /^ {8}Remedy: Correct or unset DISPATCH_LAYOUT_CUDA_ADDON\.$/m);
    const [cuda] = JSON.parse(await succeed(['doctor', '--json'], '', environment)).devices as DeviceDescription[];
    assert.strictEqual(cuda.code, 'ADDON_MISSING');
    assert.match(String(cuda.cause), /^Error: Cannot find module/);
  });

  it('obeys the environment variables, and says so', async () => {
    const text = await succeed(['doctor'], '', { DISPATCH_LAYOUT_DEVICE: 'js', DISPATCH_LAYOUT_DISABLE: 'wasm' });
    assert.match(text, /^\* js {4}available, chosen$/m);
    assert.match(text, /DISPATCH_LAYOUT_DEVICE asks for js/);
    assert.match(text, /^ {2}wasm {2}not available: DISABLED$/m);
    const finished = await dispatchLayout(['doctor'], '', { DISPATCH_LAYOUT_DEVICE: 'gpu' });
    expectRefusal(finished, /the environment variable DISPATCH_LAYOUT_DEVICE is 'gpu'/, 'an unknown device');
  });
});
